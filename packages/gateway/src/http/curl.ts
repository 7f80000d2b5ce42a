/** The line that publishes an event, as a person pastes it into a shell: shown at start and in advice. */
export function curlLine({
  address,
  key,
  body,
}: {
  readonly address: string;
  readonly key: string;
  readonly body: string;
}): string {
  return `curl -sS ${address}/v1/events -H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json' -d '${body.replaceAll("'", `'\\''`)}'`;
}
