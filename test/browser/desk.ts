/** A page of examples/8-browser, and all that it told while it lived. */
import type { Browser, BrowserContext, ConsoleMessage, Page } from 'playwright-core';
import type { State } from '../../sdk/js/millrace.ts';
import { type Book, createBook, type Order } from './book.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- what the page shows, and frames of every shape
type Json = any;

export interface Desk {
  readonly page: Page;
  readonly context: BrowserContext;
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
  /** Clicks, and resolves when that many are published or waiting. */
  order(button: 'one' | 'ten'): Promise<void>;
  until(isSo: () => boolean): Promise<void>;
  load(): Promise<void>;
}

export interface DeskOptions {
  readonly browser: Browser;
  readonly address: string;
  readonly transport: 'ws' | 'sse';
  readonly group: string;
}

const TELL = "addEventListener('shown', ({ detail }) => console.debug(`shown ${JSON.stringify(detail)}`))";

export async function openDesk({ browser, address, transport, group }: DeskOptions): Promise<Desk> {
  const context = await browser.newContext({ viewport: { width: 1180, height: 1080 } });
  const page = await context.newPage();
  const [seen, worked] = [createBook(), createBook()];
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

  function takeFrame({ op, id, ids = [], attempt, event }: Json): void {
    if (op === 'authed') authed++;
    if (op === 'acked') for (const one of ids) confirmed.add(one);
    if (op === 'msg' && confirmed.has(id))
      breaches.push(`${id} (${event.source} ${event.data.n}, attempt ${attempt}) came after its ack was confirmed`);
  }

  // By the console and not by a binding: what a page says just before it is loaded anew must not be lost with it.
  page.on('console', (message: ConsoleMessage) => {
    const text = message.text();
    if (!text.startsWith('shown ')) return;
    const { kind, ...note } = JSON.parse(text.slice(6));
    takes[kind]?.(note);
    bell.resolve();
    bell = Promise.withResolvers();
  });
  page.on('pageerror', (error) => breaches.push(`uncaught: ${error.stack ?? error.message}`));
  await page.addInitScript({ content: TELL });

  async function until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await bell.promise;
  }

  async function load(): Promise<void> {
    isReady = false;
    await page.goto(`${address}/?transport=${transport}&group=${group}`);
    await until(() => isReady);
  }

  await load();
  return {
    page,
    context,
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
    until,
    load,
  };
}
