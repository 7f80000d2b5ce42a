/** What the doctor says of subscriptions: what stands still, what waits for a person, what is worth knowing. */
import { compileTopics } from '@millrace/core/topic';
import type { Client } from './client.ts';
import { downOf, exactly, type Faring, faringIfThere, isToStream, ofEach, whyDisabled } from './health.ts';
import { eachOf, type List } from './lists.ts';
import { count } from './text.ts';

export interface Finding {
  /** `problem`: it needs somebody. `note`: worth knowing, and maybe meant so. */
  readonly level: 'problem' | 'note';
  /** Of what log and store say of themselves. */
  readonly code?: string;
  readonly problem: string;
  readonly advice: string;
}

export const problem = (problem: string, advice: string): Finding => ({ level: 'problem', problem, advice });
const note = (problem: string, advice: string): Finding => ({ level: 'note', problem, advice });

/** A call or a few for each. */
export const SUBSCRIPTIONS_MAX = 1_000;
/** Read once, to see what no topic matches. */
const TOPICS_MAX = 10_000;
const KEYS_SHOWN = 3;

export async function checkSubscriptions(
  client: Client,
): Promise<{ readonly findings: readonly Finding[]; readonly whole: boolean }> {
  const topics = await topicsOf(client);
  const { results, whole } = await ofEach(client, (id) => findingsOf(client, id, topics), { max: SUBSCRIPTIONS_MAX });
  return { findings: results.flat(), whole };
}

/** Undefined where there are more than are looked at. */
async function topicsOf(client: Client): Promise<readonly string[] | undefined> {
  const names: string[] = [];
  for await (const { topic } of eachOf<{ readonly topic: string }>(client, 'GET /v1/topics')) {
    if (names.length === TOPICS_MAX) return undefined;
    names.push(topic);
  }
  return names;
}

async function findingsOf(client: Client, id: string, topics: readonly string[] | undefined): Promise<readonly Finding[]> {
  const faring = await faringIfThere(client, id);
  if (faring === undefined) return [];
  return [
    ...standing(faring, Date.now()),
    ...(await failing(client, faring)),
    ...(await dead(client, faring)),
    ...unmatched(faring, topics),
  ];
}

function standing(faring: Faring, nowMs: number): readonly Finding[] {
  const { id, state, disabled, health } = faring;
  if (state === 'disabled')
    return [
      problem(
        `${id} is disabled${disabled === undefined ? '' : ` (${whyDisabled(faring)})`}`,
        `When ${isToStream(faring) ? 'its consumers are' : 'its endpoint is'} well again: millrace subscription resume ${id}`,
      ),
    ];
  if (state === 'paused')
    return [note(`${id} is paused`, `Its events wait in the log until: millrace subscription resume ${id}`)];
  const { breaker, stoppedBy } = health;
  return [
    ...(breaker === 'open'
      ? [
          problem(
            `${id}: its endpoint is ${downOf(health, nowMs)}`,
            `Deliveries wait in the log, and go on at once after a good answer to: millrace subscription test ${id}`,
          ),
        ]
      : []),
    ...(stoppedBy === undefined
      ? []
      : [problem(`${id} stands still at its bound '${stoppedBy}'`, `Nothing is lost. Why: millrace subscription get ${id}`)]),
  ];
}

/** While the breaker is open its cause is said already. */
async function failing(client: Client, faring: Faring): Promise<readonly Finding[]> {
  const { id, state, health } = faring;
  const { breaker, failingMs, parked } = health;
  if (state !== 'active' || breaker === 'open' || parked === 0) return [];
  const { body } = await client.ask<List<{ readonly attempts: readonly { readonly cause: string }[] }>>('GET /v1/deliveries', {
    query: { subscription: id, limit: 1 },
  });
  const cause = body.data[0]?.attempts.at(-1)?.cause ?? '';
  // One failure may be chance, but an address that is not allowed stays so.
  if (failingMs === 0 && cause !== 'blocked_address') return [];
  const waiting = `${count(parked, 'delivery')} ${parked === 1 ? 'waits' : 'wait'} for another attempt`;
  const last = cause === '' ? '' : ` (last: ${cause})`;
  return [
    isToStream(faring)
      ? problem(
          `${id}: its consumers acked nothing for ${exactly(failingMs)}${last}, ${waiting}`,
          NOT_ACKED[cause]?.(id) ?? `What became of each: millrace delivery list ${id}`,
        )
      : problem(
          `${id}: nothing but failures for ${exactly(failingMs)}${last}, ${waiting}`,
          `What it answers: millrace delivery list ${id}`,
        ),
  ];
}

/** By the cause of the last attempt: what its consumers are to look at. */
const NOT_ACKED: Readonly<Record<string, (id: string) => string>> = {
  nack: (id) => `Its consumers refuse them; their reasons: millrace delivery list ${id}`,
  nack_dead: (id) => `Its consumers refuse them for good; their reasons: millrace delivery list ${id}`,
  ack_timeout: (id) =>
    `They took too long: let them ack earlier or extend, or give them longer: millrace subscription update ${id} --ack-wait 2m`,
  consumer_gone: () => 'They went before they acked: look at what ends them',
};

async function dead(client: Client, { id, onDead, health: { deadLetters, held } }: Faring): Promise<readonly Finding[]> {
  if (deadLetters === 0) return [];
  const one = deadLetters === 1;
  const letters = problem(
    `${id}: ${count(deadLetters, 'dead letter')} ${one ? 'waits' : 'wait'} for a decision`,
    `Why: millrace dead-letter list ${id}; deliver again: millrace dead-letter redrive --subscription ${id}`,
  );
  const keys = onDead === 'hold' ? await keysHeld(client, id) : [];
  if (keys.length === 0) return [letters];
  const shown = keys.slice(0, KEYS_SHOWN).map((key) => `'${key}'`);
  const more = keys.length > KEYS_SHOWN ? ` and ${keys.length - KEYS_SHOWN} more` : '';
  const waiting = held === 0 ? '' : `, ${count(held, 'delivery')} behind them`;
  return [
    letters,
    problem(
      `${id}: dead letters hold ${count(keys.length, 'key')} (${shown.join(', ')}${more})${waiting}`,
      'Later events of these wait until the dead letters are redriven or discarded.',
    ),
  ];
}

/** Of the oldest 500 dead letters. */
async function keysHeld(client: Client, subscription: string): Promise<readonly string[]> {
  const { body } = await client.ask<List<{ readonly holdsKey?: string }>>('GET /v1/dead-letters', {
    query: { subscription, limit: 500 },
  });
  return [...new Set(body.data.flatMap(({ holdsKey }) => (holdsKey === undefined ? [] : [holdsKey])))];
}

function unmatched({ id, topics: patterns }: Faring, topics: readonly string[] | undefined): readonly Finding[] {
  if (topics === undefined || topics.some(compileTopics(patterns))) return [];
  return [
    note(
      `${id}: no declared topic matches ${patterns.join(', ')}`,
      'It gets nothing until there is one: millrace topic list, millrace topic create NAME.',
    ),
  ];
}
