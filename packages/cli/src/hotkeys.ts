/** Keys to press while `dev` runs on a terminal. The terminal is left as it was found, however the process ends. */
import type { Notice } from '@millrace/gateway/api';
import { TRY_EVENT } from '@millrace/gateway/screen';
import { type Client, createClient } from './client.ts';

/** The part of a terminal's input that is used here. */
export interface KeyInput {
  setRawMode(raw: boolean): unknown;
  on(event: 'data', listener: (bytes: Uint8Array) => void): unknown;
  resume(): unknown;
}

export interface Hotkeys {
  /** The gateway takes requests: from now on keys do something. */
  ready(ready: { readonly address: string; readonly key: string | undefined }): void;
  /** Every notice: the last delivery is the one that is sent again. */
  notice(notice: Notice): void;
}

interface Needs {
  readonly stdin: KeyInput;
  readonly write: (text: string) => void;
  /** Ends as Ctrl-C does. */
  readonly quit?: () => void;
  readonly suspend?: () => void;
}

const HELP = '  t  send the event of the line "Try"   r  send the last delivery again   c  clear   q  quit   ?  these keys';
const CLEAR = '\u001B[2J\u001B[3J\u001B[H';

export function createHotkeys({
  stdin,
  write,
  quit = () => void process.kill(process.pid, 'SIGINT'),
  suspend = suspendGroup,
}: Needs): Hotkeys {
  let client: Client | undefined;
  let last: string | undefined;

  const say = (text: string): void => write(`  ${text}\n`);

  async function test(on: Client): Promise<void> {
    await on.ask('POST /v1/events', { json: TRY_EVENT });
  }

  async function again(on: Client): Promise<void> {
    if (last === undefined) return say('nothing was delivered yet');
    const { body } = await on.ask<{ readonly data: readonly { readonly id: string }[] }>('GET /v1/deliveries', {
      query: { subscription: last, limit: 1 },
    });
    const [delivery] = body.data;
    if (delivery === undefined) return say('nothing was delivered yet');
    await on.ask(`POST /v1/deliveries/${encodeURIComponent(delivery.id)}/retry`);
  }

  function press(key: string): void {
    const failed = (error: Error): void => say(error.message);
    if (key === '\u0003' || key === 'q') quit();
    else if (key === '\u001A') suspend();
    else if (key === 'c') write(CLEAR);
    else if (key === '?' || key === 'h') write(`${HELP}\n`);
    else if (client !== undefined && key === 't') void test(client).catch(failed);
    else if (client !== undefined && key === 'r') void again(client).catch(failed);
    // Whoever presses return wants room between lines.
    else if (key === '\r') write('\n');
  }

  return {
    ready({ address, key }) {
      client = createClient({
        address: () => address,
        key: () => key,
        keyFrom: () => (key === undefined ? undefined : 'this gateway'),
        noKey: undefined,
        addressFrom: '--url',
        data: '',
      });
      takeKeys(stdin, press);
      write(`${HELP}\n`);
    },
    notice(notice) {
      if ('eventId' in notice) last = notice.subscription;
    },
  };
}

function takeKeys(stdin: KeyInput, press: (key: string) => void): void {
  stdin.setRawMode(true);
  // Also where the process ends by an error: the shell must not be left without echo.
  process.on('exit', () => void stdin.setRawMode(false));
  process.on('SIGCONT', () => void stdin.setRawMode(true));
  stdin.on('data', (bytes) => {
    // A key that sends a sequence (an arrow) is none of ours.
    const text = Buffer.from(bytes).toString();
    if (!text.startsWith('\u001B')) for (const key of text) press(key);
  });
  stdin.resume();
}

/** Ctrl-Z: the whole group, as the terminal itself would stop it. */
function suspendGroup(): void {
  process.stdin.setRawMode(false);
  process.kill(0, 'SIGTSTP');
}
