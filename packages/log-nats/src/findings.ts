/**
 * What an operator should know of the stream, as `millrace doctor` says it: settings that lessen a promise, room that runs out,
 * topics that plain clients publish to in vain. Facts in, sentences out; who gathers the facts is in examine.ts.
 */
import type { StreamConfig, StreamState } from '@nats-io/jetstream';
import { formatDuration } from '@millrace/core/duration';
import type { Finding, Demands } from '@millrace/gateway/ports/finding';
import { isNewEnough, VERSION_NEEDED } from './connect.ts';
import { captures, NANOS_PER_MS } from './stream-config.ts';
import type { Sync } from './sync.ts';

export interface Facts {
  readonly config: StreamConfig;
  readonly state: Pick<StreamState, 'bytes' | 'messages'>;
  /** Of the server we are connected to. */
  readonly version: string;
  readonly isCluster: boolean;
  /** Whether Millrace changes the stream as topics are declared. */
  readonly mayChange: boolean;
  readonly sync: Sync;
  readonly wanted: Demands;
  readonly subjectOf: (environment: string, topic: string) => string;
}

/** With so many copies one machine's power loss takes nothing that was answered. */
export const REPLICAS_SAFE = 3;
/** Filled so far, a stream needs somebody: a burst fills the rest within minutes. */
const FULL_PART = 0.8;
/** Named in one sentence; the others are counted. */
const SHOWN_MAX = 3;

export function findingsOf(facts: Facts): readonly Finding[] {
  return [
    ...versions(facts),
    ...durability(facts),
    ...copies(facts),
    ...room(facts),
    ...dropping(facts),
    ...keeping(facts),
    ...remembering(facts),
    ...capturing(facts),
  ];
}

function versions({ version }: Facts): readonly Finding[] {
  if (isNewEnough(version)) return [];
  return [
    problem(
      'server_too_old',
      `the NATS server is version ${version}; the log needs ${VERSION_NEEDED} or newer`,
      'Upgrade it: older servers take newer settings without a word and do nothing.',
    ),
  ];
}

/** What an answer to a publisher is worth (promise 1). */
function durability({ config: { name, storage, num_replicas: replicas }, sync }: Facts): readonly Finding[] {
  if (storage === 'memory')
    return [
      problem(
        'log_in_memory',
        `the stream ${name} is kept in memory: events that were answered are lost when its ${replicas === 1 ? 'server stops' : 'servers stop'}`,
        'Use a stream with file storage: another name, or this one made anew (?storage=file).',
      ),
    ];
  if (replicas >= REPLICAS_SAFE || sync.kind === 'always') return [];
  const has = `the stream ${name} has ${replicas === 1 ? '1 replica' : `${replicas} replicas`}`;
  const set = `Set sync_interval: always in the jetstream block of the server, or keep the stream on ${REPLICAS_SAFE} replicas.`;
  if (sync.kind === 'interval')
    return [
      problem(
        'log_synced_late',
        `an event that was answered may be lost in a power loss: the NATS server syncs its files every ${formatDuration(sync.everyMs)}, and ${has}`,
        set,
      ),
    ];
  return [
    note(
      'log_sync_unknown',
      `whether an event that was answered survives a power loss is not known here: a NATS server syncs its files every 2m unless its sync_interval says otherwise, tells that only to its system account, and ${has}`,
      `${set} For this check to see it, have the system account export the service $SYS.REQ.SERVER.PING.JSZ and ours import it.`,
    ),
  ];
}

function copies({ config: { name, num_replicas: replicas }, isCluster }: Facts): readonly Finding[] {
  if (!isCluster || replicas > 1) return [];
  return [
    note(
      'log_one_replica',
      `the stream ${name} has 1 replica in a cluster: while its server is away no event is taken or delivered`,
      `Give it more: nats stream edit ${name} --replicas ${REPLICAS_SAFE}.`,
    ),
  ];
}

function room({ config, state }: Facts): readonly Finding[] {
  // One that drops its oldest is full as a rule: what that means is said below.
  if (config.discard !== 'new') return [];
  const parts = [
    { part: config.max_bytes > 0 ? state.bytes / config.max_bytes : 0, setting: 'max_bytes' },
    { part: config.max_msgs > 0 ? state.messages / config.max_msgs : 0, setting: 'max_msgs' },
  ];
  const fullest = parts.reduce((one, other) => (other.part > one.part ? other : one));
  if (fullest.part < FULL_PART) return [];
  return [
    problem(
      'log_nearly_full',
      `the stream ${config.name} has used ${Math.floor(fullest.part * 100)} % of its ${fullest.setting}`,
      `When it is full, publishing is answered with log_full. Raise ${fullest.setting}, or keep events for a shorter time.`,
    ),
  ];
}

/** Only of streams that others made: ours refuse what they have no room for. */
function dropping({ config }: Facts): readonly Finding[] {
  const { name, discard, max_bytes: bytes, max_msgs: messages, max_msgs_per_subject: perSubject } = config;
  const advice = 'Subscriptions that have not had these events by then get a dead letter for them.';
  return [
    ...(discard === 'old' && (bytes > 0 || messages > 0)
      ? [
          problem(
            'log_drops_oldest',
            `the stream ${name} drops its oldest events when it is full`,
            `${advice} Set its discard policy to new: then a full stream refuses events instead.`,
          ),
        ]
      : []),
    ...(perSubject > 0 && !(discard === 'new' && config.discard_new_per_subject)
      ? [
          problem(
            'log_drops_of_topic',
            `the stream ${name} keeps only the newest ${perSubject} events of a topic`,
            `${advice} Take max_msgs_per_subject out of it.`,
          ),
        ]
      : []),
  ];
}

function keeping({ config: { name, max_age: maxAge }, wanted }: Facts): readonly Finding[] {
  const keptMs = maxAge / NANOS_PER_MS;
  const longer = maxAge > 0 ? wanted.topics.filter(({ retentionMs }) => retentionMs > keptMs) : [];
  if (longer.length === 0) return [];
  const longestMs = Math.max(...longer.map(({ retentionMs }) => retentionMs));
  return [
    problem(
      'log_keeps_shorter',
      `the stream ${name} keeps events for ${formatDuration(keptMs)}, which is shorter than the retention of ${named(longer.map(({ topic }) => topic))}`,
      `Raise its max_age to ${formatDuration(longestMs)} or more, or let Millrace do so (?manage=true).`,
    ),
  ];
}

function remembering({ config: { name, duplicate_window: window }, wanted: { dedupeWindowMs } }: Facts): readonly Finding[] {
  const windowMs = window / NANOS_PER_MS;
  if (windowMs >= dedupeWindowMs) return [];
  return [
    note(
      'log_dedupes_shorter',
      `the stream ${name} remembers what was published for ${formatDuration(windowMs)}, not for ${formatDuration(dedupeWindowMs)}`,
      'An event that is published again after that, with the same key or id, is a second event. Raise its duplicate_window.',
    ),
  ];
}

/** A stream that Millrace may change captures what is declared, and is not asked for more. */
function capturing({ config, mayChange, wanted, subjectOf }: Facts): readonly Finding[] {
  // Ten thousand topics are as many subjects: only those with wildcards are gone through for each.
  const exact = new Set(config.subjects);
  const wide = config.subjects.filter((subject) => /[*>]/.test(subject));
  const isMissing = (environment: string, name: string): boolean => {
    const subject = subjectOf(environment, name);
    return !exact.has(subject) && !captures(wide, subject);
  };
  const topics = wanted.topics.filter(({ environment, topic }) => isMissing(environment, topic)).map(({ topic }) => topic);
  const patterns = mayChange
    ? []
    : wanted.patterns.filter(({ environment, pattern }) => isMissing(environment, pattern)).map(({ pattern }) => pattern);
  return [
    ...(topics.length === 0
      ? []
      : [
          problem(
            'topic_not_captured',
            `the stream ${config.name} does not capture ${named(topics)}`,
            'Publishing there is refused, and what plain clients send there is lost unseen. Add it to the subjects of the stream, or let Millrace do so (?manage=true).',
          ),
        ]),
    ...(patterns.length === 0
      ? []
      : [
          note(
            'pattern_not_captured',
            `subscriptions want ${named(patterns)}, of which the stream ${config.name} captures a part or nothing`,
            'What plain clients publish on the other subjects is lost unseen. Add them to the subjects of the stream if they matter.',
          ),
        ]),
  ];
}

function named(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_MAX).join(', ');
  return names.length > SHOWN_MAX ? `${shown} and ${names.length - SHOWN_MAX} more` : shown;
}

function problem(code: string, problem: string, advice: string): Finding {
  return { level: 'problem', code, problem, advice };
}

function note(code: string, problem: string, advice: string): Finding {
  return { level: 'note', code, problem, advice };
}
