/**
 * The backend of the page: serves it, and makes the tokens by which it speaks to the gateway. `node backend.ts`
 *
 *   MILLRACE_KEY          a key of the app (no admin's), with the scopes publish, subscribe and manage: it stays here
 *   MILLRACE_URL          the gateway (http://127.0.0.1:4400); MILLRACE_PUBLIC_URL, where browsers see it at another address
 *   PORT (3000), TTL      how long a token counts (10m)
 */
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const { MILLRACE_KEY: key = '', MILLRACE_URL: url = 'http://127.0.0.1:4400', PORT = '3000', TTL: ttl = '10m' } = process.env;
const { MILLRACE_PUBLIC_URL: publicUrl = url } = process.env;
/** A page waits for it: rather the SDK of before than none for long. */
const PATIENCE_MS = 2_000;
/** But where there is none of before: a gateway makes it when it is first asked, which takes a while on a busy machine. */
const FIRST_MS = 20_000;
const TYPES: Readonly<Record<string, string>> = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

const read = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');
const files = new Map(['page.js', 'view.js', 'style.css'].map((name) => [`/${name}`, read(name)]));
const page = read('index.html');

async function ask(method: string, path: string, json: object): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return fetch(url + path, { method, headers, body: JSON.stringify(json) });
}

/** Here you know who asks: decide by your session who gets a token, for what, and answer 401 to all others. */
async function giveToken(answer: ServerResponse): Promise<void> {
  const made = await makeToken();
  const text = await made.text();
  if (!made.ok) console.error(`no page gets a token: ${saidIn(text)}`);
  answer.writeHead(made.ok ? 200 : 502, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(text);
}

const makeToken = (): Promise<Response> =>
  ask('POST', '/v1/tokens', { scopes: ['publish', 'subscribe'], topics: ['orders.*'], ttl, origin });

/** What the gateway refuses, and what to do about it. */
function saidIn(text: string): string {
  try {
    const { detail, advice = '' } = JSON.parse(text) as { detail?: string; advice?: string };
    return `${detail ?? text}. ${advice}`;
  } catch {
    return text; // it is no gateway that answers there
  }
}

/** Without it nothing works: said in a line, not as a stack. */
function stop(why: string): never {
  console.error(why);
  process.exit(1);
}

/** As the gateway's manifest has it, for this app. */
interface Sdk {
  readonly url: string;
  readonly integrity: string;
}
let sdk: Sdk | undefined;

/** Which SDK the app wants now, asked for anew with each page; while the gateway is away, the one of before. */
async function sdkNow(): Promise<Sdk> {
  try {
    const signal = AbortSignal.timeout(sdk === undefined ? FIRST_MS : PATIENCE_MS);
    const answer = await fetch(`${url}/sdk/manifest.json?app=${app}`, { signal });
    if (answer.ok) sdk = ((await answer.json()) as { app: Sdk }).app;
  } catch (error) {
    console.error('the gateway does not say which SDK it has:', error);
  }
  if (sdk === undefined) throw new Error('the gateway has not said yet which SDK it has');
  return sdk;
}

/** The browser is told the digest beside the address: it runs these bytes or none. */
async function givePage(answer: ServerResponse): Promise<void> {
  const { url: path, integrity } = await sdkNow();
  const filled = page
    .replace('{{gateway}}', publicUrl)
    .replaceAll('{{sdk}}', publicUrl + path)
    .replace('{{integrity}}', integrity);
  give(answer, filled, 'html');
}

function give(answer: ServerResponse, text: string, type: string): void {
  answer.writeHead(200, { 'content-type': `${TYPES[type]}; charset=utf-8`, 'cache-control': 'no-cache' }).end(text);
}

const server = createServer((request, answer) => {
  const { method, url: path = '/' } = request;
  const unavailable = (): void => void answer.writeHead(503).end('The gateway does not answer. Try again.');
  if (method === 'POST' && path === '/token') {
    giveToken(answer).catch(unavailable); // the page asks again
    return;
  }
  const name = path.split('?')[0] ?? '/';
  if (method === 'GET' && name === '/') return void givePage(answer).catch(unavailable);
  const file = method === 'GET' ? files.get(name) : undefined;
  if (file === undefined) return void answer.writeHead(404).end();
  give(answer, file, name.split('.')[1] ?? '');
});

if (!/^mr_\w+$/.test(key)) stop('MILLRACE_KEY is to be a key of the app (mr_…): README.md has the command that makes one.');
// The group that the pages share. A token can't make it: it is configuration, and that takes a key.
const group = { topics: ['orders.*'], ordering: 'key', deliver: { stream: {} } };
const made = await ask('PUT', '/v1/subscriptions/desk', group).catch(({ cause, message }: Error) =>
  stop(`the gateway at ${url} can't be asked: ${cause instanceof Error ? cause.message : message}. Is it running?`),
);
if (!made.ok) stop(`the group 'desk' can't be made: ${saidIn(await made.text())}`);
const { app } = (await made.json()) as { app: string };
await new Promise<void>((resolve) => void server.listen(Number(PORT), '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`open ${origin}`);
const first = await makeToken().catch(() => undefined);
if (first?.ok === false) console.error(`no page gets a token yet: ${saidIn(await first.text())}`);
