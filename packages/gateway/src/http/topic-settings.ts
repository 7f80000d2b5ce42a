/** A topic as a person writes and reads it. */
import { formatDuration, parseDurationMs } from '@millrace/core/duration';
import { compileKeyPath } from '@millrace/core/key-path';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { LatencyClass, Topic, Versioned } from '../ports/directory.ts';
import { timeOf } from './answers.ts';
import { HTTP_BOUNDS } from './bounds.ts';

/** Everything may be left out. */
export interface TopicSettings {
  readonly owner?: string;
  /** `7d`, or milliseconds. */
  readonly retention?: string | number;
  readonly latency?: LatencyClass;
  readonly keyPath?: string;
  readonly maxBytes?: number;
}

interface TopicNeeds {
  readonly owner: string;
  readonly nowMs: number;
  readonly limits: Pick<Limits, 'payloadBytes'>;
}

const RETENTION_MS = 7 * 86_400_000;

/** Throws for a retention or key path that is none. */
export function topicOf(settings: TopicSettings, { owner, nowMs, limits }: TopicNeeds): Topic {
  const { retention = RETENTION_MS, latency = 'standard', keyPath, maxBytes = limits.payloadBytes } = settings;
  const retentionMs = parseDurationMs(retention, { maxMs: HTTP_BOUNDS.retentionMsMax, pointer: '/retention' });
  if (retentionMs < HTTP_BOUNDS.retentionMsMin)
    throw new Problem('invalid_request', 'a topic keeps its events for a minute or longer', { pointer: '/retention' });
  if (keyPath !== undefined) compileKeyPath(keyPath, '/keyPath');
  return {
    owner: settings.owner ?? owner,
    retentionMs,
    latency,
    ...(keyPath === undefined ? {} : { keyPath }),
    maxBytes,
    createdMs: nowMs,
  };
}

export function showTopic({ id, value }: Versioned<Topic>): object {
  const { owner, retentionMs, latency, keyPath, maxBytes, createdMs } = value;
  return {
    topic: id,
    owner,
    retention: formatDuration(retentionMs),
    latency,
    ...(keyPath === undefined ? {} : { keyPath }),
    maxBytes,
    createdAt: timeOf(createdMs),
  };
}
