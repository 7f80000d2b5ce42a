/** Promises 1 and 6: what was answered is in the log, and a key appends once within its window. */
import type { Problem } from '@millrace/core/problem';
import type { Published } from '@millrace/gateway/api';
import type { Durable } from '../durable.ts';
import type { Situations } from '../situations.ts';
import type { Fact, Facts, Intent } from './facts.ts';
import type { Retention } from './retention.ts';
import type { Verdict } from './verdict.ts';

export interface Publishing {
  /** Facts were added by an append. */
  appended(facts: readonly Fact[]): void;
  answered(intents: readonly Intent[], results: readonly Published[]): void;
  /** After a crash: what was acknowledged and is neither expired nor lost by the log itself must be there. */
  checkDurable(durable: Durable): Promise<void>;
}

interface Needs {
  readonly facts: Facts;
  readonly retention: Retention;
  readonly windowMs: number;
  readonly verdict: Verdict;
  readonly situations: Situations;
}

export function createPublishing({ facts, retention, windowMs, verdict, situations }: Needs): Publishing {
  const uses = new Map<string, Fact[]>();
  const usesOf = (scope: string): readonly Fact[] => uses.get(scope) ?? [];

  function appendedOne(fact: Fact): void {
    if (fact.scope === undefined) return;
    const before = usesOf(fact.scope).filter(({ lost }) => !lost);
    const twice = before.find(({ timeMs }) => fact.timeMs < timeMs + windowMs);
    if (twice !== undefined) {
      verdict.broken(
        'P6',
        'one idempotency key appends once within its window',
        `${fact.scope}: events ${twice.n} and ${fact.n}`,
      );
    }
    uses.getOrInsertComputed(fact.scope, () => []).push(fact);
  }

  function answeredOne(intent: Intent, result: Published): void {
    if (result.status === 'refused') return refused(intent, result.problem);
    const fact = facts.at(result.shard, result.position, { id: result.id });
    if (fact === undefined || fact.n !== intent.n) {
      const sentence =
        result.status === 'appended'
          ? 'an answered event is in the log at the place that was answered'
          : 'a duplicate is answered with the id and place of its first use';
      verdict.broken(
        result.status === 'appended' ? 'P1' : 'P6',
        sentence,
        `event ${intent.n} (${intent.scope ?? 'no key'}): ${result.shard} ${result.position} ${result.id}`,
      );
      return;
    }
    if (result.status === 'duplicate') {
      situations.count('duplicate');
      if (intent.scope === undefined || !usesOf(intent.scope).includes(fact)) {
        verdict.broken(
          'P6',
          'a duplicate is one of the same environment, app and key',
          `event ${intent.n} (${intent.scope ?? 'no key'}) is called a duplicate of ${fact.scope}`,
        );
      }
    }
    fact.acknowledged = true;
    if (fact.audience !== undefined) situations.count('audience');
  }

  function refused(intent: Intent, problem: Problem): void {
    if (problem.code !== 'idempotency_key_reused') return;
    situations.count('keyReused');
    if (intent.scope !== undefined && usesOf(intent.scope).some(({ n }) => n !== intent.n)) return;
    verdict.broken(
      'P6',
      'a key is called reused only after other content came with it',
      `event ${intent.n} (${intent.scope ?? 'no key'})`,
    );
  }

  return {
    appended: (added) => added.forEach(appendedOne),
    answered(intents, results) {
      if (results.length !== intents.length)
        verdict.broken('contract', 'publish answers one result per event', `${results.length} for ${intents.length}`);
      for (const [at, intent] of intents.entries()) {
        const result = results[at];
        if (result !== undefined) answeredOne(intent, result);
      }
    },
    async checkDurable(durable) {
      for (const fact of facts.all) {
        if (!fact.acknowledged || fact.lost || retention.expired(fact)) continue;
        const record = await durable.log().fetch(fact.shard, fact.position);
        if (record?.event.id !== fact.id)
          verdict.broken(
            'P1',
            'an acknowledged event is in the log after a crash',
            `event ${fact.n} at ${fact.shard} ${fact.position}`,
          );
      }
    },
  };
}
