/** What the gateway advises, in commands: it speaks to those who speak HTTP. */

const COMMANDS: readonly (readonly [RegExp, string])[] = [
  [/PUT \/v1\/topics\/([^\s.]\S*)/, 'millrace topic create $1'],
  [/GET \/v1\/operations\b\.?/, 'millrace operation list'],
  [/PATCH \/v1\/apps\/\{app\} with \{"origins": \[\.\.\.\]\}\.?/, 'millrace app update APP --origin ORIGIN'],
  [/POST \/v1\/tokens\b\.?/, 'millrace token create'],
  [/POST \/v1\/events\b\.?/, 'millrace publish --file PATH'],
];

/** Undefined where no command does it. */
export function adviceOf(advice: string | undefined): string | undefined {
  if (advice === undefined) return undefined;
  const said = COMMANDS.reduce((text, [call, command]) => text.replace(call, command), advice);
  return /\b(GET|PUT|POST|PATCH|DELETE) \/|\?\w+=/.test(said) ? undefined : said;
}
