/** Subscriptions as people read them: what matters first. */
import { type Faring, type Health, healthLines, isToStream, shortStateOf } from './health.ts';
import type { Terminal } from './terminal.ts';
import type { Column } from './table.ts';
import { alignedOf, detailsOf, pairsOf, relative } from './text.ts';

export interface Subscription {
  readonly id: string;
  readonly app: string;
  readonly topics: readonly string[];
  readonly deliver: {
    readonly webhook?: { readonly url: string; readonly signature?: string };
    readonly stream?: { readonly ackWait: string };
  };
  readonly filter?: object;
  readonly ordering: string;
  readonly state: string;
  readonly createdAt: string;
  readonly secret?: string;
  readonly warnings?: readonly string[];
  /** In a list, in short. */
  readonly health?: Partial<Health>;
}

interface Showing {
  /** The secret was brought: it is known already. */
  readonly isOwn: boolean;
  readonly terminal: Terminal;
}

/** What is never shown again stands first; what was chosen, below it. */
export function shownNew(made: Subscription, { isOwn, terminal: { style } }: Showing): string[] {
  const { id, app, topics, filter, deliver, ordering } = made;
  const { webhook, stream } = deliver;
  const to =
    stream === undefined ? { endpoint: webhook?.url } : { stream: 'its consumers connect, or pull', ackWait: stream.ackWait };
  const chosen = { app, topics, filter, ...to, ordering: ordering === 'none' ? undefined : ordering };
  const secret = isToStream(made) ? [] : [...secretOf(made, isOwn, style), ''];
  return [`${style('green', 'created')} ${id}`, '', ...secret, ...detailsOf(chosen, Date.now())];
}

export function shownRotated(
  rotated: Subscription & { readonly previousUntil: string },
  { isOwn, terminal: { style } }: Showing,
): string[] {
  const { previousUntil, deliver } = rotated;
  const until = `The former one counts, too, until ${previousUntil} (${relative(previousUntil, Date.now())})`;
  const how =
    deliver.webhook?.signature === 'simple'
      ? 'what is refused with one is sent again with the other at once.'
      : 'until then deliveries are signed with both.';
  return [...secretOf(rotated, isOwn, style), `${until}: ${how}`];
}

const VERIFIED: Readonly<Record<string, string>> = {
  standard: 'The receiver verifies deliveries with it: any library for Standard Webhooks does that.',
  simple: 'The receiver verifies deliveries with it: x-signature is the HMAC-SHA256 of the body with this secret, in hex.',
};

function secretOf({ secret, deliver }: Subscription, isOwn: boolean, style: Terminal['style']): string[] {
  const how = VERIFIED[deliver.webhook?.signature ?? 'standard'] ?? 'The receiver verifies deliveries with it.';
  if (isOwn) return [style('bold', 'secret  the one you brought'), how];
  return [style('bold', `secret  ${secret}`), 'The secret is shown this once: keep it where secrets are kept.', how];
}

/** How it fares, then its settings: what is sent where and in which order first, bounds last. */
export function shownWhole(subscription: Subscription & Faring, { style }: Terminal): string[] {
  const nowMs = Date.now();
  const {
    id,
    app,
    topics,
    filter,
    deliver,
    ordering,
    onDead,
    state: _state,
    disabled: _disabled,
    health,
    ...rest
  } = subscription;
  const { bounds, createdAt, breaker, ...more } = rest as {
    readonly bounds?: object;
    readonly breaker?: unknown;
    readonly createdAt: string;
  };
  // Of consumers there is none to open.
  const others = { ...more, ...(isToStream(subscription) ? {} : { breaker }) };
  const first = { app, topics, filter, deliver, ordering, ...(ordering === 'key' ? { onDead } : {}) };
  const { cursors } = health as { readonly cursors?: object };
  const settings = pairsOf({ ...first, ...others, bounds, createdAt, 'read up to': cursors }, nowMs);
  const [head = '', ...fares] = alignedOf([['subscription', id], ...healthLines(subscription, nowMs)]);
  return [style('bold', head), ...fares, '', ...alignedOf(settings)];
}

export function columnsOf(rows: readonly Subscription[], nowMs: number): Column<Subscription>[] {
  const known = rows.some(({ health }) => health !== undefined);
  return [
    { title: 'SUBSCRIPTION', value: ({ id }) => id },
    { title: 'APP', value: ({ app }) => app, shrinks: 2 },
    { title: known ? 'HEALTH' : 'STATE', value: shortStateOf },
    { title: 'TOPICS', value: ({ topics }) => topics.join(','), shrinks: 3, most: 40 },
    { title: 'TO', value: ({ deliver }) => deliver.webhook?.url ?? 'its consumers', shrinks: 1 },
    { title: 'CREATED', value: ({ createdAt }) => relative(createdAt, nowMs) },
  ];
}
