/** Ways to break the flow. Each names what a tired engineer might do, the text it changes and what it becomes. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  /** Must stand in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The seed to begin with, where what it takes is so rare that the first few hundred don't meet it. */
  readonly from?: number;
  /** Only clusters can meet it: of these there are fewer, so more seeds are looked through. */
  readonly clusters?: true;
}

const LANE = 'packages/gateway/src/flow/lane.ts';
const READER = 'packages/gateway/src/lanes/reader.ts';
const RECORD = 'packages/gateway/src/flow/record.ts';
const DELIVER = 'packages/gateway/src/flow/deliver.ts';
const ACCEPT = 'packages/gateway/src/flow/accept.ts';
const APPEND = 'packages/gateway/src/flow/append.ts';
const MATCH = 'packages/gateway/src/flow/match.ts';
const LANES = 'packages/gateway/src/lanes/lanes.ts';
const CHECKPOINT = 'packages/gateway/src/lanes/checkpoint.ts';
const ENDPOINT = 'packages/gateway/src/lanes/endpoint.ts';
const BOUNDS = 'packages/gateway/src/lanes/bounds.ts';
const BREAKER = 'packages/gateway/src/lanes/breaker.ts';
const RECOVERY = 'packages/gateway/src/lanes/recovery.ts';
const TRUST = 'packages/gateway/src/lanes/trust.ts';
const TAPE = 'packages/gateway/src/lanes/tape.ts';
const TURNS = 'packages/gateway/src/lanes/turns.ts';
const DEAD_LETTERS = 'packages/gateway/src/dead-letters.ts';
const SLOTS = 'packages/gateway/src/slots.ts';
const MOVING = 'packages/gateway/src/lanes/moving.ts';
const FENCED = 'packages/gateway/src/cluster/fenced-ledger.ts';
const NODE = 'packages/gateway/src/cluster/node.ts';
const CLUSTER = 'packages/gateway/src/cluster/cluster.ts';

export const MUTATIONS: readonly Mutation[] = [
  // the record
  {
    name: 'a park is skipped',
    file: LANE,
    find: 'recorder.add({ attempt, park }, () => {',
    replace: 'recorder.add({ attempt }, () => {',
  },
  {
    name: 'a failed attempt is not recorded',
    file: LANE,
    find: 'recorder.add({ attempt, park }, () => {',
    replace: 'recorder.add({ park }, () => {',
  },
  { name: 'no attempt is recorded', file: RECORD, find: 'attempts: batch.attempts,', replace: 'attempts: [],' },
  {
    name: 'the cursor passes an open delivery',
    file: TAPE,
    find: 'cursor: (read) => open.peek()?.before ?? read,',
    replace: 'cursor: (read) => read,',
  },
  {
    name: 'a lane row goes while something is open',
    file: LANE,
    find: 'reader.isLive && tape.size === 0 && reader.position <= tail.end.position;',
    replace: 'reader.isLive && reader.position <= tail.end.position;',
  },
  {
    name: 'the slot position gets ahead of an open lane',
    file: CHECKPOINT,
    find: 'for (const lane of everyLane()) lane.checkpoint();\n    if (holding === 0) {',
    replace: 'if (holding === 0) {',
  },
  {
    name: 'slots are written while lanes still load',
    file: CHECKPOINT,
    find: 'if (holding === 0) {\n',
    replace: 'if (holding >= 0) {\n',
  },
  {
    name: 'attempts above the cursor are forgotten at recovery',
    file: LANE,
    find: 'for (const position of state.handled) handled.add(position);',
    replace: '',
  },
  {
    name: 'a replay advances the live cursor',
    file: LANE,
    find: 'recorder.add({ lane: { lane: name, shard, cursor: cursorAt(place, needs.log) } });',
    replace:
      "recorder.add({ lane: { lane: `${name.slice(0, name.indexOf('.'))}.p0`, shard, cursor: cursorAt(place, needs.log) } });",
  },
  {
    name: 'a run is done before its outcomes are durable',
    file: LANES,
    find: 'void recorder.settled().then(() => needs.onRunDone(run.id));',
    replace: 'needs.onRunDone(run.id);',
  },
  {
    name: 'the first cursors of a subscription are not written',
    file: 'packages/gateway/src/lanes/passes.ts',
    find: 'for (const [shard, cursor] of cursors) recorder.add({ lane: { lane, shard, cursor } });',
    replace: '',
  },
  {
    name: 'a long wait keeps no bytes',
    file: LANE,
    find: 'if (delayMs > limits.keepBytesMs) delivery.kept ??= keptOf(delivery);',
    replace: '',
  },
  {
    name: 'a schedule ends one attempt early',
    file: LANE,
    find: 'attempt: delivery.attempts - delivery.attemptsBefore + 1,',
    replace: 'attempt: delivery.attempts - delivery.attemptsBefore + 2,',
  },
  {
    name: 'a redrive gets no fresh schedule',
    file: LANE,
    find: 'attempt: delivery.attempts - delivery.attemptsBefore + 1,',
    replace: 'attempt: delivery.attempts + 1,',
  },
  {
    name: 'a change of settings drops what is parked',
    file: LANES,
    find: "if (isOther && subscription.value.state === 'active') subscriber.endpoint.probeNow();",
    replace: 'recorder.add({ dropLane: liveName(subscription.value) });',
  },

  // order by key
  {
    name: 'successors are not held',
    file: LANE,
    find: 'const behind = key !== undefined && keys.isBusy(key);',
    replace: 'const behind = false;',
  },
  {
    name: 'a parked head lets its successor go',
    file: LANE,
    find: 'pass(delivery);\n    if (delivery.key !== undefined) keys.setHead(delivery.key, undefined);\n',
    replace: 'pass(delivery);\n    if (delivery.key !== undefined) release(delivery.key);\n',
  },
  {
    name: 'a key is released before its dead letter is durable',
    file: LANE,
    find: "else release(delivery.key);\n      pump();\n    });\n    notify(delivery, outcome, 'dead');",
    replace:
      "pump();\n    });\n    if (delivery.key !== undefined && !holds) release(delivery.key);\n    notify(delivery, outcome, 'dead');",
  },
  {
    name: 'a dead letter that should hold its key releases it',
    file: LANE,
    find: 'if (holdsKey !== undefined) keys.setHead(delivery.key, undefined);\n      else release(delivery.key);',
    replace: 'release(delivery.key);',
  },
  {
    name: 'a held successor is written down before its head',
    file: LANE,
    find: 'if (!keys.headHasRow(delivery.key as string)) continue;',
    replace: '',
  },
  {
    name: 'a discarded dead letter keeps holding its key',
    file: DEAD_LETTERS,
    find: 'if (letter.holdsKey !== undefined) lanes.drain(',
    replace: "if (letter.holdsKey === '') lanes.drain(",
  },

  // bounds
  {
    name: 'events are dropped at the bound of dead letters',
    file: LANE,
    find: 'if (!mayTake(record.size)) return false;',
    replace:
      'if (counts.deadLetters >= settings().bounds.deadLetters) return true;\n    if (!mayTake(record.size)) return false;',
  },
  {
    name: 'successors are dropped at the bound of held ones',
    file: LANE,
    find: 'if (behind && counts.held >= settings().bounds.held) return false;',
    replace: 'if (behind && counts.held >= settings().bounds.held) return true;',
  },
  {
    name: 'the bound of held ones is ignored',
    file: LANE,
    find: 'if (behind && counts.held >= settings().bounds.held) return false;',
    replace: '',
  },
  {
    name: 'what is in flight has no room among the dead letters',
    file: BOUNDS,
    find: '=> counts.deadLetters + inFlight < subscription()',
    replace: '=> counts.deadLetters < subscription()',
  },
  {
    name: 'what is in flight has no room among the parked',
    file: BOUNDS,
    find: 'return counts.parked + reserved < bounds.parked &&',
    replace: 'return counts.parked < bounds.parked &&',
  },
  { name: 'concurrency is ignored', file: ENDPOINT, find: ' || inFlight >= endpoint.allowed || ', replace: ' || ' },
  { name: 'the rate is ignored', file: ENDPOINT, find: 'return tokens >= 1 ? 0 :', replace: 'return tokens >= -1e9 ? 0 :' },
  {
    name: 'a 429 is ignored',
    file: ENDPOINT,
    find: 'if (outcome.slowDown) {',
    replace: 'if (outcome.slowDown && outcome.status === 0) {',
  },
  {
    name: 'a pause is ignored',
    file: ENDPOINT,
    find: "if (breaker.open || subscription().state !== 'active' || inFlight",
    replace: 'if (breaker.open || inFlight',
  },
  {
    name: 'the bound of the process is ignored',
    file: TURNS,
    find: 'inFlight === 0 || (freePlaces(line) > 0 && ',
    replace: 'inFlight === 0 || (',
  },
  {
    name: 'who steps aside for having its share is forgotten',
    file: TURNS,
    find: 'next = own.aside.shift()) standInLine(next);',
    replace: 'next = own.aside.shift());',
  },

  // breaker
  {
    name: 'a breaker never opens',
    file: BREAKER,
    find: 'if (!byConnect && failed.size < thresholds.events) return false;',
    replace: 'return false;',
  },
  {
    name: 'one event tried again counts as several',
    file: BREAKER,
    find: 'failed.add(event);',
    replace: 'failed.add(`${event} ${failed.size}`);',
  },
  {
    name: 'a probe is forgotten',
    file: ENDPOINT,
    find: 'else if (breaker.open && probe) armProbe(breaker.nextProbeMs(clock.random()));',
    replace: 'else if (breaker.open && probe) probeDue = false;',
  },
  {
    name: 'a probe counts as an attempt',
    file: LANE,
    find: "else if (outcome.kind === 'aborted' || probe || wasOpen) putBack(delivery, outcome);",
    replace: "else if (outcome.kind === 'aborted') putBack(delivery, outcome);",
  },
  {
    name: 'parked deliveries that fall due are sent while the breaker is open',
    file: LANE,
    find: 'if (endpoint.breakerOpen) return endpoint.mayProbe() ? nextProbe() : undefined;',
    replace: 'if (endpoint.breakerOpen) return due.peek() ?? (endpoint.mayProbe() ? nextProbe() : undefined);',
  },

  // ids, matching, dedupe
  {
    name: 'subscriptions share their webhook ids',
    file: DELIVER,
    find: 'const identity = { subscription: target.uid,',
    replace: "const identity = { subscription: '',",
  },
  {
    name: 'every attempt has a webhook id of its own',
    file: DELIVER,
    find: 'source: event.source, id: event.id };',
    replace: 'source: event.source, id: `${event.id} ${startedMs}` };',
  },
  {
    name: 'a replay with new ids has the old ones',
    file: LANES,
    find: "asNew: run?.ids === 'as-new' ?",
    replace: 'asNew: run?.ids === undefined ?',
  },
  {
    name: 'the audience is ignored',
    file: MATCH,
    find: '    (plan.audience === undefined || plan.audience === wanted.app) &&\n',
    replace: '',
  },
  {
    name: 'a replay sends what does not match',
    file: READER,
    find: 'if (wants(record) && !take(record, readPlace)) return false;',
    replace: 'if (!take(record, readPlace)) return false;',
  },
  {
    name: 'an idempotency key does not look at the content',
    file: ACCEPT,
    find: 'return { key: `key:${idempotencyKey}`, digest: digestOf(draft), windowMs };',
    replace: "return { key: `key:${idempotencyKey}`, digest: '', windowMs };",
  },
  {
    name: 'idempotency keys are shared by apps',
    file: 'packages/memory/src/dedupe.ts',
    find: 'return JSON.stringify([environment, app, dedupe?.key]);',
    replace: 'return JSON.stringify([environment, dedupe?.key, app.length > 99]);',
  },

  // passes
  {
    name: 'a pass the ledger does not know takes the place of its slot',
    file: RECOVERY,
    find: 'passes.get(uid)?.find((one) => one >= beginsPass && one <= pass);',
    replace: 'passes.get(uid)?.find((one) => one <= pass);',
  },
  {
    name: 'what was parked before a rewind comes back after a crash',
    file: RECOVERY,
    find: 'return passes.get(of.uid)?.some((pass) => pass < beginsPass);',
    replace: 'return passes.has(of.uid) && beginsPass < 0;',
  },
  {
    name: 'slots are written while a pass begins',
    file: LANES,
    from: 1281,
    find: 'beginning: holdSlots,',
    replace: 'beginning: (work) => work(),',
  },
  {
    name: 'after a restart the first of a key by place leads, whoever was sent',
    file: LANE,
    find: "if (row !== 'held') keys.lead(key, undefined);",
    replace: "if (row !== 'held' && !keys.isBusy(key)) clock.after(0, () => keys.lead(key, undefined));",
  },
  {
    name: 'a second wait for a lane makes the first wait for ever',
    file: LANE,
    find: 'retiring ??= Promise.withResolvers();',
    replace: 'retiring = Promise.withResolvers();',
  },

  // appends
  {
    name: 'calls that share an append get the answers of others',
    file: APPEND,
    find: 'for (const waiting of group) waiting.resolve(results.slice(at, (at += waiting.entries.length)));',
    replace: 'for (const waiting of group.toReversed()) waiting.resolve(results.slice(at, (at += waiting.entries.length)));',
  },

  // the log
  {
    name: 'no dead letter for a range that expired',
    file: READER,
    find: 'if (through.position <= from.position || isBefore) return;',
    replace: 'if (through !== undefined) return;',
  },
  {
    name: 'a lane behind the ring is fed from the ring',
    file: READER,
    find: 'if (tail.covers(readPlace.position)) feedFromRing();',
    replace: 'if (tail.shard === shard) feedFromRing();',
  },
  {
    name: 'a new shard is entered at its end',
    file: LANES,
    find: 'cursor: await cursorOfTime(log, shard, subscriber.versioned.value.beginsMs),\n        })),',
    replace: 'cursor: await cursorOfTime(log, shard, Number.MAX_SAFE_INTEGER),\n        })),',
  },
  {
    name: 'a position of a log that was recreated is trusted',
    file: TRUST,
    find: 'async function isTrusted(log: Log, shard: string, cursor: Cursor): Promise<boolean> {',
    replace:
      'async function isTrusted(log: Log, shard: string, cursor: Cursor): Promise<boolean> {\n  if (cursor !== undefined) return true;',
  },
  {
    name: 'a position of a log that lost its tail is trusted',
    file: TRUST,
    find: 'if (cursor.position > end) return false;',
    replace: "if (cursor.position !== '') return true;",
  },
  {
    name: 'a redrive loses the bytes',
    file: DEAD_LETTERS,
    find: '    idHash,\n    kept,\n  } as const;',
    replace: '    idHash,\n  } as const;',
  },
  {
    name: 'a parked delivery is sent whatever stands at its place now',
    file: 'packages/gateway/src/lanes/restore.ts',
    find: "return isSame ? record : 'log_changed';",
    replace: 'return record ?? isSame;',
  },

  // clusters
  {
    name: 'a commit names no epochs',
    clusters: true,
    file: FENCED,
    find: '...waters] }, fences);',
    replace: '...waters] }, []);',
  },
  {
    name: 'what is about slots of others is written, too',
    clusters: true,
    file: FENCED,
    find: 'const isGone = (slot: number): boolean => !held.has(slot) || held.get(slot)?.token !== tokens.get(slot);',
    replace: 'const isGone = (slot: number): boolean => slot < 0 && tokens.has(slot);',
  },
  {
    name: 'a commit is repeated under the epochs of now',
    clusters: true,
    file: FENCED,
    find: '!held.has(slot) || held.get(slot)?.token !== tokens.get(slot);',
    replace: '!held.has(slot) || tokens.has(-1);',
  },
  {
    name: 'how far the log was read is noted before it is known what was written',
    clusters: true,
    from: 301,
    file: FENCED,
    find: '.filter((slot) => begun.has(slot))',
    replace: '',
  },
  {
    name: 'the end of a lease stops nothing',
    clusters: true,
    file: NODE,
    find: 'slots.lose(new Set(held.keys()));\n    worked.clear();',
    replace: '',
  },
  {
    name: 'a node that was stopped past its lease sends when it goes on',
    clusters: true,
    file: CLUSTER,
    find: 'node.hasLease() ? sender.send(request) : unsent(node)',
    replace: 'node.hasLease() || request.url !== "" ? sender.send(request) : unsent(node)',
  },
  {
    name: 'the fences of lost slots are kept',
    clusters: true,
    file: NODE,
    find: 'held.delete(slot);\n      worked.delete(slot);',
    replace: '',
  },
  {
    name: 'slots are given back before what is under way is written down',
    clusters: true,
    file: NODE,
    find: 'await slots.leave(new Set(surplus));\n    await leases.release(surplus);',
    replace: 'const left = slots.leave(new Set(surplus));\n    await leases.release(surplus);\n    await left;',
  },
  {
    name: 'what is not written down of a lost slot is written later',
    clusters: true,
    file: SLOTS,
    find: 'if (isNode) recorder.forget(slots, (uid) => slots.has(slotOf(uid)));',
    replace: '',
  },
  {
    name: 'of a lost slot its own row is written later',
    clusters: true,
    file: RECORD,
    find: 'if (slots.has(slot)) batch.slots.delete(name);',
    replace: 'if (slots.has(-slot - 1)) batch.slots.delete(name);',
  },
  {
    name: 'slots are taken before the log is read to its end',
    clusters: true,
    file: MOVING,
    find: 'await needs.reachEnds();',
    replace: '',
  },
  {
    name: 'who stood with its slot gets only what comes from now on',
    clusters: true,
    file: MOVING,
    find: 'if (tail.covers(cursor.position) && !wanted.has(subscriber)) continue;',
    replace: 'if (tail.covers(cursor.position) || wanted.has(subscriber)) continue;',
  },
  {
    name: 'slots are taken without looking who there is',
    clusters: true,
    file: SLOTS,
    find: 'await registry.refresh();',
    replace: '',
  },
  {
    name: 'what is lost while it is taken counts as deleted',
    clusters: true,
    file: LANES,
    find: ' || which.known?.has(uid) === true;',
    replace: ';',
  },
  {
    name: 'what is deleted while it is taken is moved to another log',
    clusters: true,
    from: 301,
    file: MOVING,
    find: 'if (one?.subscriber !== subscriber) taken.delete(uid);',
    replace: 'if (one?.subscriber !== subscriber) continue;',
  },
  {
    name: 'a subscription is made though its slot was lost',
    clusters: true,
    file: 'packages/gateway/src/subscriptions.ts',
    find: 'if (tenure === undefined || tenureOf(value.uid) !== tenure) throw new Elsewhere(id, value.uid);',
    replace: '',
  },
  {
    name: 'a slot is left with what its lanes have open passed',
    clusters: true,
    file: MOVING,
    find: 'for (const subscriber of ours) for (const lane of subscriber.lanes.values()) lane.checkpoint();',
    replace: '',
  },
  {
    name: 'what is lost while it is left is passed',
    clusters: true,
    from: 2101,
    file: MOVING,
    find: 'const ours = its.filter((subscriber) => leaving.has(subscriber));',
    replace: 'const ours = its;',
  },
];
