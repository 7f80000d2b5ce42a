/** What is configured, in the other directory: the same, but for what is told by places and times of a log. */
import type { Directory, Kind, Kinds, Run, Subscription, Versioned } from '../ports/directory.ts';
import type { Cursor } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import type { Translate } from './translate.ts';

/** Subscriptions after what they are for, as a person would make them. */
const KINDS = ['app', 'key', 'topic', 'subscription', 'run', 'failing', 'job', 'answer'] as const satisfies readonly Kind[];
const PAGE_RESOURCES = 1_000;
/** Written at once: a store makes few transactions of them. */
const WRITTEN_AT_ONCE = 100;

interface Needs {
  readonly from: Directory;
  readonly to: Directory;
  readonly former: { readonly log: Log; readonly shard: string };
  /** Identity of the new log. */
  readonly log: string;
  readonly translate: Translate;
}

export async function copyDirectory(needs: Needs): Promise<void> {
  for (const kind of KINDS) await copyKind(needs, kind);
}

async function copyKind<K extends Kind>(needs: Needs, kind: K): Promise<void> {
  const { from, to } = needs;
  const names = new Set<string>();
  for await (const page of pagesOf(from, kind)) {
    for (const { environment, id } of page) names.add(`${environment}\n${id}`);
    for (let at = 0; at < page.length; at += WRITTEN_AT_ONCE)
      await Promise.all(page.slice(at, at + WRITTEN_AT_ONCE).map((one) => copyOne(needs, kind, one)));
  }
  // Of an earlier try, and deleted since.
  for await (const page of pagesOf(to, kind))
    for (const { environment, id } of page) if (!names.has(`${environment}\n${id}`)) await to.delete(kind, environment, id);
}

async function copyOne<K extends Kind>(needs: Needs, kind: K, { environment, id, value }: Versioned<Kinds[K]>): Promise<void> {
  const wanted = await translated(needs, kind, value);
  const present = await needs.to.get(kind, environment, id);
  if (present !== undefined && JSON.stringify(present.value) === JSON.stringify(wanted)) return;
  await needs.to.put(kind, environment, id, wanted);
}

async function translated<K extends Kind>(needs: Needs, kind: K, value: Kinds[K]): Promise<Kinds[K]> {
  if (kind === 'subscription') return (await subscriptionOf(needs, value as Subscription)) as Kinds[K];
  if (kind === 'run') return (await runOf(needs, value as Run)) as Kinds[K];
  return value;
}

/** From when on it is owed events: on the clock of the new log, in which all that was moved is younger than it was. */
async function subscriptionOf({ former, translate }: Needs, value: Subscription): Promise<Subscription> {
  if (value.beginsMs === 0) return value;
  const position = await former.log.positionAt(former.shard, value.beginsMs);
  const cursors = [...(await translate.cursor({ log: '', position, timeMs: 0, idHash: '' })).values()];
  return { ...value, beginsMs: Math.min(...cursors.map(({ timeMs }) => timeMs)) };
}

/** A replay that goes on does so over the same events. One that has ended is only shown. */
async function runOf({ former, translate, log }: Needs, value: Run): Promise<Run> {
  const span = value.spans[former.shard];
  if (value.state !== 'running' || value.log !== former.log.identity || span === undefined) return value;
  const at = (position: string): Promise<ReadonlyMap<string, Cursor>> =>
    translate.cursor({ log: '', position, timeMs: 0, idHash: '' });
  const [after, until] = [await at(span.after), await at(span.until)];
  const times = (cursors: typeof after): number[] => [...cursors.values()].map(({ timeMs }) => timeMs);
  return {
    ...value,
    log,
    spans: Object.fromEntries(
      [...after].map(([shard, { position }]) => [shard, { after: position, until: until.get(shard)?.position ?? position }]),
    ),
    fromMs: Math.min(...times(after)),
    throughMs: Math.max(...times(until)),
  };
}

export async function* pagesOf<K extends Kind>(directory: Directory, kind: K): AsyncGenerator<readonly Versioned<Kinds[K]>[]> {
  for (let after: Versioned<Kinds[K]> | undefined; ;) {
    const page = await directory.list(kind, {
      limit: PAGE_RESOURCES,
      ...(after === undefined ? {} : { after: { environment: after.environment, id: after.id } }),
    });
    if (page.length > 0) yield page;
    if (page.length < PAGE_RESOURCES) return;
    after = page.at(-1);
  }
}
