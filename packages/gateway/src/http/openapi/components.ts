/** The schemas that have a name of their own in the document. Wherever one of these very objects stands, the name stands there. */
import { APP, APP_CHANGE, APP_SETTINGS, KEY, KEY_SETTINGS, NEW_KEY, USAGE } from './apps.ts';
import { DEAD_LETTER, MANY } from './dead-letters.ts';
import { ATTEMPT, DELIVERY, FAILED } from './deliveries.ts';
import { EVENT, EVENT_DRAFT } from './event.ts';
import { EVENT_PAGE, PUBLISHED, PUBLISHED_BATCH, PUBLISHED_LINE, REFUSED } from './events.ts';
import { CHECKS, FINDING } from './health.ts';
import { JOB, OPERATION, REPLAY } from './operations.ts';
import { PROBLEM } from './problem.ts';
import { COUNT, PAGE } from './shared.ts';
import { REPLAY_SETTINGS, ROTATION, TEST } from './subscription-calls.ts';
import { PATCH_SCHEMA, POST_SCHEMA, PUT_SCHEMA } from './subscription-settings.ts';
import {
  CHANGED_SUBSCRIPTION,
  HEALTH,
  LISTED_SUBSCRIPTION,
  NEW_SUBSCRIPTION,
  ROTATED_SUBSCRIPTION,
  SHORT_HEALTH,
  SUBSCRIPTION,
  SUBSCRIPTION_WITH_HEALTH,
  TEST_RESULT,
} from './subscriptions.ts';
import { TELEMETRY_REPORT } from './telemetry.ts';
import { NEW_TOKEN, TOKEN_KEYS, TOKEN_REVOCATION, TOKEN_SETTINGS } from './tokens.ts';
import { SDK_RULE, SDK_RULE_CHANGE } from './sdk.ts';
import { REJECT, TOPIC, TOPIC_SETTINGS } from './topics.ts';
import type { Schema } from './types.ts';

export const COMPONENTS: Readonly<Record<string, Schema>> = {
  Problem: PROBLEM,
  Page: PAGE,
  Count: COUNT,
  EventDraft: EVENT_DRAFT,
  Event: EVENT,
  EventPage: EVENT_PAGE,
  Published: PUBLISHED,
  Refused: REFUSED,
  PublishedBatch: PUBLISHED_BATCH,
  PublishedLine: PUBLISHED_LINE,
  TopicSettings: TOPIC_SETTINGS,
  Topic: TOPIC,
  Reject: REJECT,
  NewSubscriptionSettings: POST_SCHEMA,
  SubscriptionSettings: PUT_SCHEMA,
  SubscriptionChange: PATCH_SCHEMA,
  Subscription: SUBSCRIPTION,
  ListedSubscription: LISTED_SUBSCRIPTION,
  SubscriptionWithHealth: SUBSCRIPTION_WITH_HEALTH,
  ChangedSubscription: CHANGED_SUBSCRIPTION,
  NewSubscription: NEW_SUBSCRIPTION,
  Health: HEALTH,
  ShortHealth: SHORT_HEALTH,
  ReplaySettings: REPLAY_SETTINGS,
  Rotation: ROTATION,
  RotatedSubscription: ROTATED_SUBSCRIPTION,
  Test: TEST,
  TestResult: TEST_RESULT,
  Delivery: DELIVERY,
  Attempt: ATTEMPT,
  FailedDelivery: FAILED,
  DeadLetter: DEAD_LETTER,
  DeadLetters: MANY,
  Operation: OPERATION,
  Replay: REPLAY,
  Job: JOB,
  Checks: CHECKS,
  Finding: FINDING,
  AppSettings: APP_SETTINGS,
  App: APP,
  KeySettings: KEY_SETTINGS,
  Key: KEY,
  NewKey: NEW_KEY,
  AppChange: APP_CHANGE,
  Usage: USAGE,
  SdkRule: SDK_RULE,
  TelemetryReport: TELEMETRY_REPORT,
  SdkRuleChange: SDK_RULE_CHANGE,
  TokenSettings: TOKEN_SETTINGS,
  NewToken: NEW_TOKEN,
  TokenRevocation: TOKEN_REVOCATION,
  TokenKeys: TOKEN_KEYS,
};
