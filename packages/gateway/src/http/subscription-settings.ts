/** A subscription as a person writes and reads it: design.md section 5. Values are checked by the gateway; here, their shape. */
import { formatDuration } from '@millrace/core/duration';
import { compileFilter } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import type { From, Health, SubscriptionSpec, SubscriptionState } from '../api.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { Caller } from './access.ts';
import { causeFor, mayActFor, mayUseTopics } from './access.ts';
import { readTime, timeOf } from './answers.ts';
import { mustDeliverToOne } from '../settings.ts';
import { showHeaders } from '../webhook-headers.ts';

/** As SubscriptionSpec, but with `from` as text, and `app` may be left out: it is the key's own then. */
export interface SubscriptionBody extends Omit<SubscriptionSpec, 'from' | 'app'> {
  readonly id?: string;
  readonly app?: string;
  readonly from?: string;
}

/** Throws what the gateway would, and for a key that may not act for the app. */
export function specOf(caller: Caller, body: SubscriptionBody): SubscriptionSpec {
  const { id: _id, app = caller.app, from, ...rest } = body;
  if (!mayActFor(caller, app))
    throw new Problem('forbidden', `this key can subscribe as '${caller.app}' only`, { pointer: '/app' });
  mayUseTopics(caller, rest.topics, '/topics');
  checkFilter(rest.filter);
  mustDeliverToOne(rest.deliver);
  return { ...rest, app, ...(from === undefined ? {} : { from: fromOf(from) }) };
}

/** Pointers lead into the whole body. */
export function checkFilter(filter: unknown): void {
  if (filter === undefined || filter === null) return;
  try {
    compileFilter(filter);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, error.message, {
      pointer: `/filter${error.pointer ?? ''}`,
      ...(error.advice === undefined ? {} : { advice: error.advice }),
    });
  }
}

export function fromOf(from: string, pointer = '/from'): From {
  return from === 'latest' || from === 'earliest' ? from : { timeMs: readTime(from, pointer) };
}

/** Never with a secret, nor with a credential among its headers. */
export function showSubscription({ id, value }: Versioned<Subscription>): object {
  const {
    uid: _uid,
    app,
    topics,
    filter,
    deliver,
    retry,
    createdMs,
    beginsMs: _begins,
    beginsPass: _beginsPass,
    pass: _pass,
    disableAfterMs,
    disabled,
    ...rest
  } = value;
  return {
    id,
    app,
    topics,
    ...(filter === undefined ? {} : { filter }),
    deliver: showDeliver(deliver),
    retry: { schedule: retry.scheduleMs.map(formatDuration), jitter: retry.jitter },
    ...rest,
    disableAfter: disableAfterMs === undefined ? false : formatDuration(disableAfterMs),
    ...(disabled === undefined ? {} : { disabled: { cause: disabled.cause, at: timeOf(disabled.atMs) } }),
    createdAt: timeOf(createdMs),
  };
}

function showDeliver({ webhook, stream }: Subscription['deliver']): object {
  if (webhook === undefined) return { stream: { ackWait: formatDuration(stream.ackWaitMs) } };
  const { secrets: _secrets, sealedHeaders: _sealed, ...rest } = webhook;
  return { webhook: { ...rest, headers: showHeaders(webhook) } };
}

/** The state of a subscription's lanes, as a management page shows it. */
export function showHealth(caller: Caller, { state: _state, disabled: _disabled, outage, ...rest }: Health): object {
  return { ...rest, ...showOutage(caller, outage) };
}

/** Of one in a list. None where the process has not heard of the subscription yet. */
export function showState(caller: Caller, state: SubscriptionState | undefined): { readonly health?: object } {
  if (state === undefined) return {};
  const { environment: _environment, id: _id, state: _state, outage, ...rest } = state;
  return { health: { ...rest, ...showOutage(caller, outage) } };
}

function showOutage(caller: Caller, outage: Health['outage']): object {
  if (outage === undefined) return {};
  const { cause, sinceMs, nextProbeMs } = outage;
  const next = nextProbeMs === undefined ? {} : { nextProbeAt: timeOf(nextProbeMs) };
  return { outage: { cause: causeFor(caller, cause), since: timeOf(sinceMs), ...next } };
}
