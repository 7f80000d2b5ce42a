/** A page of examples/8-browser, and all that it told while it lived. */
import assert from 'node:assert/strict';
import type { Browser, BrowserContext, ConsoleMessage, Page } from 'playwright-core';
import type { State } from '../../sdk/js/millrace.ts';
import { type Book, createBook, type Order } from './book.ts';

/** Of a second or two: far more than what is on its way to the test at any time. */
const KEPT_NOTES = 300;

// oxlint-disable-next-line typescript/no-explicit-any -- what the page shows, and frames of every shape
type Json = any;

export interface Desk {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly transport: 'ws' | 'sse';
  /** Where the page took its SDK from, each time that it did. */
  readonly sdks: readonly string[];
  /** What came to the subscription without a group, and to the one with it. */
  readonly seen: Book;
  readonly worked: Book;
  /** The source that the page publishes under; another one when it was loaded again. */
  readonly source: string;
  readonly states: readonly State[];
  /** Why tokens were asked for. */
  readonly tokens: readonly string[];
  /** Tokens that the gateway took within a connection. */
  readonly authed: number;
  readonly confirmed: ReadonlySet<string>;
  /** Uncaught errors, gaps, and deliveries that came again after their ack was confirmed. */
  readonly breaches: readonly string[];
  /** Orders that the gateway has taken from this page, by source. */
  readonly published: ReadonlyMap<string, number>;
  order(button: 'one' | 'ten'): Promise<void>;
  /** Resolves when it is open, after all of what it told up to then; where it waits, somebody clicks who does not like to. */
  reopened(states: number): Promise<void>;
  until(isSo: () => boolean): Promise<void>;
  load(): Promise<void>;
}

export interface DeskOptions {
  readonly browser: Browser;
  readonly address: string;
  readonly transport: Desk['transport'];
  readonly group: string;
}

/**
 * Run in the page before anything else: what it shows it tells by the console. What is told while another document takes its place is lost on the way,
 * so the last that was told is kept for that one, which tells it again first; numbers tell what was heard already.
 */
const TELL = `
  const kept = 'told by the one before';
  for (const note of JSON.parse(sessionStorage.getItem(kept) ?? '[]')) console.debug('shown ' + note);
  const [document, last] = [crypto.randomUUID(), []];
  let number = 0;
  addEventListener('shown', ({ detail }) => {
    const note = JSON.stringify({ document, number: ++number, ...detail });
    last.push(note);
    if (last.length > ${KEPT_NOTES}) last.shift();
    console.debug('shown ' + note);
  });
  addEventListener('pagehide', () => sessionStorage.setItem(kept, JSON.stringify(last)));
`;

export async function openDesk({ browser, address, transport, group }: DeskOptions): Promise<Desk> {
  const context = await browser.newContext({ viewport: { width: 1180, height: 1080 } });
  const page = await context.newPage();
  const [seen, worked] = [createBook(), createBook()];
  const sdks: string[] = [];
  const states: State[] = [];
  const tokens: string[] = [];
  const confirmed = new Set<string>();
  const breaches: string[] = [];
  const published = new Map<string, number>();
  /** Subs of the connection that is up that are of a group: only their messages are deliveries. */
  let [source, authed, isReady] = ['', 0, false];
  let bell = Promise.withResolvers<void>();

  const takes: Readonly<Record<string, (note: Json) => void>> = {
    order: (order: Order) => seen.note(order),
    task: ({ order }: { order: Order }) => worked.note(order),
    state: (state: State) => states.push(state),
    token: ({ reason }: { reason: string }) => tokens.push(reason),
    published: (one: { source: string }) => published.set(one.source, (published.get(one.source) ?? 0) + 1),
    gap: (gap) => breaches.push(`gap: ${JSON.stringify(gap)}`),
    frames({ from, text }: { from: string; text: string }) {
      if (from === 'gateway') for (const frame of [JSON.parse(text)].flat()) takeFrame(frame);
    },
    ready(note: { source: string }) {
      ({ source } = note);
      isReady = true;
    },
  };

  function ring(): void {
    bell.resolve();
    bell = Promise.withResolvers();
  }

  function takeFrame({ op, id, ids = [], attempt, event }: Json): void {
    if (op === 'authed') authed++;
    if (op === 'acked') for (const one of ids) confirmed.add(one);
    if (op === 'msg' && confirmed.has(id))
      breaches.push(`${id} (${event.source} ${event.data.n}, attempt ${attempt}) came after its ack was confirmed`);
  }

  /** The number of the last note of each document. */
  const heard = new Map<string, number>();
  page.on('console', (message: ConsoleMessage) => {
    const text = message.text();
    if (!text.startsWith('shown ')) return;
    const { kind, document, number, ...note } = JSON.parse(text.slice(6));
    if (number <= (heard.get(document) ?? 0)) return;
    heard.set(document, number);
    takes[kind]?.(note);
    ring();
  });
  page.on('response', (response) => {
    if (response.url().endsWith('/millrace.js')) sdks.push(response.url());
  });
  page.on('pageerror', (error) => {
    breaches.push(`uncaught: ${error.stack ?? error.message}`);
    ring();
  });
  await page.addInitScript({ content: `{${TELL}}` });

  /** Rejects where that is not to be expected any more. */
  async function until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      assert.deepEqual(breaches, []);
      await bell.promise;
    }
  }

  async function load(): Promise<void> {
    isReady = false;
    const answer = await page.goto(`${address}/?transport=${transport}&group=${group}`);
    assert.equal(answer?.status(), 200, `the page was answered with ${answer?.statusText()}`);
    await until(() => isReady);
  }

  await load();
  return {
    page,
    context,
    transport,
    sdks,
    seen,
    worked,
    states,
    tokens,
    confirmed,
    breaches,
    published,
    get source() {
      return source;
    },
    get authed() {
      return authed;
    },
    order: (button) => page.click(`#${button}`),
    async reopened(from) {
      for (;;) {
        await until(() => states.slice(from).some(({ state }) => state === 'open' || state === 'waiting'));
        if (states.slice(from).some(({ state }) => state === 'open')) return;
        from = states.length;
        await page.click('#now');
      }
    },
    until,
    load,
  };
}
