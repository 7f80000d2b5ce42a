/** What the tests of this package share. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Appended, Dedupe, Entry, Log, LogRecord, Page } from '@millrace/gateway/ports/log';
import { openEmbedded } from './embedded.ts';
import type { Embedded, EmbeddedOptions } from './embedded.ts';

export const START_MS = Date.UTC(2026, 10, 2, 12);
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export interface TemporaryDirectory {
  readonly path: string;
  remove(): void;
}

export function temporaryDirectory(): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), 'millrace-embedded-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A store that can be opened again and again in one directory, with a clock that stands still until it is set. */
export interface TestStore {
  readonly path: string;
  readonly clock: { ms: number };
  /** Closes the one that is open. */
  open(options?: Partial<EmbeddedOptions>): Promise<Embedded>;
  close(): Promise<void>;
  /** Names of the sealed files. */
  segments(): string[];
}

/** Reads go to the thread and its files, as they do for a reader that is far behind: nothing is kept in memory. */
export function testStore(context: TestContext): TestStore {
  const directory = temporaryDirectory();
  const clock = { ms: START_MS };
  let store: Embedded | undefined;
  const close = async () => {
    await store?.close();
    store = undefined;
  };
  context.after(async () => {
    await close();
    directory.remove();
  });

  return {
    path: directory.path,
    clock,
    async open(options = {}) {
      await close();
      store = await openEmbedded({ directory: directory.path, now: () => clock.ms, tailBytes: 0, ...options });
      return store;
    },
    close,
    segments: () => readdirSync(join(directory.path, 'segments')).sort(),
  };
}

export interface Given {
  readonly id?: string;
  readonly topic?: string;
  readonly environment?: string;
  readonly app?: string;
  readonly bytes?: number;
  readonly dedupe?: Dedupe;
}

export function entry({
  id = '1',
  topic = 'orders.created',
  environment = 'default',
  app = 'shop',
  bytes = 10,
  dedupe,
}: Given = {}): Entry {
  const event: Event = { id, source: '/shop', type: topic, extensions: {}, data: new Uint8Array(bytes).fill(7) };
  return { environment, app, event, bytes: encodeEvent(event), ...(dedupe && { dedupe }) };
}

/** With the ids 1, 2, 3, … */
export function entries(count: number, given: Given = {}): Entry[] {
  return Array.from({ length: count }, (_, i) => entry({ ...given, id: `${i + 1}` }));
}

export function keyed(key: string, given: Given = {}): Entry {
  return entry({ ...given, id: key, dedupe: { key, digest: 'a', windowMs: DAY_MS } });
}

export function positionsOf(results: readonly Appended[]): string[] {
  return results.map((result) => {
    if (result.status !== 'appended') throw new Error(`not appended: ${result.status}`);
    return result.position;
  });
}

export interface Query {
  readonly after?: string;
  readonly limit?: number;
  readonly topics?: readonly string[];
}

/** All pages from `after` to the end. */
export async function pages(log: Log, { after = '', limit = 100, topics }: Query = {}): Promise<Page[]> {
  const all: Page[] = [];
  for (let from = after; ; from = all.at(-1)!.through) {
    all.push(
      await log.read({
        shard: '0',
        after: from,
        limit,
        maxBytes: 2 ** 20,
        ...(topics && { only: { environment: 'default', topics } }),
      }),
    );
    if (all.at(-1)!.atEnd) return all;
  }
}

export async function readAll(log: Log, query: Query = {}): Promise<LogRecord[]> {
  return (await pages(log, query)).flatMap(({ records }) => records);
}

export async function positionsIn(log: Log, query: Query = {}): Promise<string[]> {
  return (await readAll(log, query)).map(({ position }) => position);
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => (error as { readonly code?: unknown }).code === code;
}
