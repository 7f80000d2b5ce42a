/**
 * The backend of the page: serves it, and makes the tokens by which it speaks to the gateway. `node backend.ts`
 *
 *   MILLRACE_KEY          a key of the app, with the scopes publish, subscribe and manage: it stays here
 *   MILLRACE_URL          the gateway (http://127.0.0.1:4400); MILLRACE_PUBLIC_URL, where browsers see it at another address
 *   PORT (3000), TTL      how long a token counts (10m)
 */
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { bundled } from '../../sdk/js/test/bundled.ts';

const { MILLRACE_KEY: key = '', MILLRACE_URL: url = 'http://127.0.0.1:4400', PORT = '3000', TTL: ttl = '10m' } = process.env;
const { MILLRACE_PUBLIC_URL: publicUrl = url } = process.env;
const TYPES: Readonly<Record<string, string>> = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

const files = new Map(
  ['index.html', 'page.js', 'view.js', 'style.css'].map((name) => [`/${name}`, readFileSync(join(import.meta.dirname, name))]),
);
files.set('/', Buffer.from(filled(String(files.get('/index.html')))));
files.set('/millrace.js', Buffer.from(await bundled('esm')));

function filled(page: string): string {
  return page.replace('{{gateway}}', publicUrl).replace('{{sdk}}', '/millrace.js');
}

async function ask(method: string, path: string, json: object): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return fetch(url + path, { method, headers, body: JSON.stringify(json) });
}

/** Here you know who asks: decide by your session who gets a token, for what, and answer 401 to all others. */
async function giveToken(answer: ServerResponse): Promise<void> {
  const made = await ask('POST', '/v1/tokens', { scopes: ['publish', 'subscribe'], topics: ['orders.*'], ttl, origin });
  answer
    .writeHead(made.ok ? 200 : 502, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(await made.text());
}

const server = createServer((request, answer) => {
  const { method, url: path = '/' } = request;
  if (method === 'POST' && path === '/token') {
    giveToken(answer).catch(() => answer.writeHead(503).end()); // the page asks again
    return;
  }
  const name = path.split('?')[0] ?? '/';
  const file = method === 'GET' ? files.get(name) : undefined;
  if (file === undefined) return void answer.writeHead(404).end();
  const type = TYPES[name.split('.')[1] ?? 'html'];
  answer.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' }).end(file);
});

// The group that the pages share. A token can't make it: it is configuration, and that takes a key.
const group = { topics: ['orders.*'], deliver: { stream: {} } };
const made = await ask('PUT', '/v1/subscriptions/desk', group);
if (!made.ok) throw new Error(`the group can't be made: ${await made.text()}`);
await new Promise<void>((resolve) => void server.listen(Number(PORT), '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`open ${origin}`);
