/** What there was instead of a good answer to a test request, and the next command. */
import { plain } from './text.ts';

export interface Tested {
  readonly delivered: boolean;
  readonly webhookId: string;
  readonly status: number;
  readonly cause: string;
  readonly durationMs: number;
  /** How the answer begins; without an answer, what the system said. Shown to admin keys. */
  readonly snippet?: string;
}

/** By the cause of an attempt: what there was instead of an answer, and what to look at. */
const NO_ANSWER: Readonly<Record<string, readonly [what: string, advice: string]>> = {
  refused: ['connection refused', 'Nothing listens there: start the receiver, then test again.'],
  unreachable: ['no way to that address', 'Look at the network between the gateway and the endpoint.'],
  connect_timeout: ['no connection in time', 'Look at the network between the gateway and the endpoint.'],
  dns: ['its name leads nowhere', 'Look at the name in the address.'],
  tls: ['no TLS with it', 'Look at its certificate.'],
  timeout: ['no whole answer in time', 'Let it answer first and work afterwards, or give it longer: --timeout.'],
  reset: ['the connection broke', 'Look at what the receiver logs.'],
  protocol: ['what came is not HTTP', 'Look at what listens there.'],
  blocked_address: ['the gateway does not send there', 'Start the gateway with --allow-egress for that address.'],
};
const SNIPPET_CHARS = 400;

/** What came instead of a good answer, and the next command. */
export function whyNot(id: string, { status, cause, snippet = '' }: Tested): string[] {
  const said = plain(snippet.slice(0, SNIPPET_CHARS));
  const again = `millrace subscription test ${id}`;
  if (status !== 0)
    return [
      ...(said === '' ? [] : [`It answered: ${said}`]),
      ...(status === 401 || status === 403
        ? [`Has it the secret of '${id}'? It was shown once; a new one: millrace subscription rotate-secret ${id}`]
        : []),
      `When the receiver takes it: ${again}`,
    ];
  const [what, advice] = NO_ANSWER[cause] ?? [cause, 'Look at what the receiver logs.'];
  return [
    `No answer: ${what}${said === '' ? '' : ` (${said})`}. ${advice}`,
    `Again: ${again}; to another address: millrace subscription update ${id} --to URL`,
  ];
}
