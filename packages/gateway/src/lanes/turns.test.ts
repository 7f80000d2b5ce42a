/** Turns: the process's bound on what is under way, shared fairly once it is full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock, settle } from '../../test/clock.ts';
import { LIMITS } from '../limits.ts';
import { createPace } from '../pace.ts';
import { CONCURRENCY_MAX } from '../settings.ts';
import { createTurns, type Line, type Share, type Turns } from './turns.ts';

const noHurry = { hurryMs: 0 };
function turnsOf(inFlight: number, inFlightBytes = LIMITS.inFlightBytes): Turns {
  const limits = { ...LIMITS, ...noHurry, inFlight, inFlightBytes };
  return createTurns({ limits, pace: createPace({ clock: createHandClock(), limits }) });
}
const made = (inFlight: number, inFlightBytes?: number): Strangers => strangers(turnsOf(inFlight, inFlightBytes));

/** Everybody here is a subscription of its own, where nothing else is said: no start is refused for the share of its lane. */
function strangers(turns: Turns): Share & { readonly inFlight: number } {
  const taken: Share[] = [];
  return {
    take(line, bytes) {
      const share = turns.share();
      const took = share.take(line, bytes);
      if (took) taken.push(share);
      return took;
    },
    takeTurn(line, bytes) {
      const share = turns.share();
      const took = share.takeTurn(line, bytes);
      if (took) taken.push(share);
      return took;
    },
    giveBack: (bytes) => taken.shift()?.giveBack(bytes),
    wait: (line, bytes, turn) => turns.share().wait(line, bytes, turn),
    get inFlight() {
      return turns.inFlight;
    },
  };
}

type Strangers = ReturnType<typeof strangers>;

/** A lane that always has more to send: it stands in line again as soon as it had its turn. */
function eager(turns: Strangers, line: Line, served: Line[]): void {
  turns.wait(line, 1, () => {
    if (turns.takeTurn(line, 1)) served.push(line);
    eager(turns, line, served);
  });
}

/** Ends one delivery after the other, `count` times. */
function servedIn(turns: Strangers, lines: readonly Line[], count: number): Line[] {
  const served: Line[] = [];
  assert.ok(turns.take('standard', 1));
  for (const line of lines) eager(turns, line, served);
  for (let ended = 0; ended < count; ended++) turns.giveBack(1);
  return served;
}

test('while there is room everybody starts at once', () => {
  const turns = made(3);
  assert.deepEqual(
    [turns.take('standard', 1), turns.take('standard', 1), turns.take('standard', 1), turns.take('standard', 1)],
    [true, true, true, false],
  );
  assert.equal(turns.inFlight, 3);
  turns.giveBack(1);
  assert.ok(turns.take('standard', 1));
});

test('bytes are bounded too, but a body larger than the bound goes alone', () => {
  const turns = made(10, 100);
  assert.ok(turns.take('standard', 60));
  assert.ok(!turns.take('standard', 41));
  assert.ok(turns.take('standard', 40));
  turns.giveBack(60);
  turns.giveBack(40);
  assert.ok(turns.take('standard', 1_000));
  assert.ok(!turns.take('standard', 0));
});

test('whoever comes later does not pass those in line', () => {
  const turns = made(2, 100);
  assert.ok(turns.take('standard', 90));
  turns.wait('standard', 1, () => undefined);
  assert.ok(!turns.take('standard', 1));
});

test('a place given back is the turn of one who waits, first come first served within a line', () => {
  const turns = made(1);
  turns.take('standard', 1);
  const order: string[] = [];
  for (const name of ['a', 'b', 'c']) turns.wait('standard', 1, () => void (turns.takeTurn('standard', 1) && order.push(name)));
  assert.deepEqual(order, []);
  for (let ended = 0; ended < 3; ended++) turns.giveBack(1);
  assert.deepEqual(order, ['a', 'b', 'c']);
  assert.equal(turns.inFlight, 1);
});

test('interactive goes before standard, standard before bulk, bulk before replays', () => {
  const turns = made(1);
  turns.take('standard', 1);
  const order: Line[] = [];
  for (const line of ['replay', 'bulk', 'standard', 'interactive'] as const)
    turns.wait(line, 1, () => void (turns.takeTurn(line, 1) && order.push(line)));
  for (let ended = 0; ended < 4; ended++) turns.giveBack(1);
  assert.deepEqual(order, ['interactive', 'standard', 'bulk', 'replay']);
});

test('beside live lanes that never run dry, a replay has a tenth', () => {
  const served = servedIn(made(1), ['interactive', 'replay'], 1_000);
  assert.equal(served.length, 1_000);
  const replays = served.filter((line) => line === 'replay').length;
  assert.ok(replays >= 100 && replays <= 110, `${replays} of 1,000`);
});

test('nobody in line is passed over for long, however many lines are full', () => {
  const served = servedIn(made(1), ['interactive', 'standard', 'bulk', 'replay'], 1_000);
  for (const line of ['standard', 'bulk', 'replay'] as const) {
    const turns = served.flatMap((one, at) => (one === line ? [at] : []));
    const gaps = turns.map((at, nth) => at - (turns[nth - 1] ?? -1) - 1);
    // Nine, and the turns of the two others that were passed over as long.
    assert.ok(Math.max(...gaps) <= 11, `${line} was passed over ${Math.max(...gaps)} times`);
    assert.ok(turns.length >= 83);
  }
  assert.ok(served.filter((line) => line === 'interactive').length >= 700);
});

test('a turn that is not used goes to the next in line', () => {
  const turns = made(1);
  turns.take('standard', 1);
  const order: string[] = [];
  turns.wait('standard', 1, () => void order.push('left'));
  turns.wait('standard', 1, () => void (turns.takeTurn('standard', 1) && order.push('took')));
  turns.giveBack(1);
  assert.deepEqual(order, ['left', 'took']);
});

test('those who stand in line again without starting do not make a round endless', () => {
  const turns = made(2);
  turns.take('standard', 1);
  turns.take('standard', 1);
  let asked = 0;
  const again = (): void =>
    turns.wait('standard', 1, () => {
      asked++;
      again();
    });
  again();
  again();
  turns.giveBack(1);
  assert.equal(asked, 2);
});

test('with nothing under way, those who stand in line are served all the same', async () => {
  const turns = made(1);
  let served = 0;
  turns.wait('bulk', 1, () => void served++);
  await settle();
  assert.equal(served, 1);
});

test('in a hurry few others start in one turn of the event loop, and the interactive all', () => {
  let ms = 0;
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, hurriedStarts: 2 };
  const turns = strangers(
    createTurns({ limits, pace: createPace({ clock: { ...createHandClock(), after, monotonic: () => ms }, limits }) }),
  );
  const took = (count: number): boolean[] => Array.from({ length: count }, () => turns.take('bulk', 1));
  assert.deepEqual(took(3), [true, true, true]);
  assert.ok(turns.take('interactive', 1));
  assert.deepEqual(took(3), [true, true, true]);
  next.shift()?.();
  assert.deepEqual(took(3), [true, true, false]);
  const started: string[] = [];
  for (const line of ['replay', 'bulk', 'bulk', 'standard'] as const)
    turns.wait(line, 1, () => void (turns.takeTurn(line, 1) && started.push(line)));
  turns.giveBack(1);
  assert.deepEqual(started, []);
  assert.equal(next.length, 1);
  next.shift()?.();
  assert.deepEqual(started, ['standard', 'bulk']);
  next.shift()?.();
  assert.deepEqual(started, ['standard', 'bulk', 'bulk', 'replay']);
  // As many more as interactive ones.
  for (let urgent = 0; urgent < 9; urgent++) assert.ok(turns.take('interactive', 1));
  assert.deepEqual(took(10), [...Array.from({ length: 9 }, () => true), false]);
  ms = limits.hurryMs;
  assert.deepEqual(took(3), [true, true, true]);
});

test('who stood in line in a hurry starts when it is over, though nothing ends for long', () => {
  let ms = 0;
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, hurriedStarts: 1 };
  const turns = strangers(
    createTurns({ limits, pace: createPace({ clock: { ...createHandClock(), after, monotonic: () => ms }, limits }) }),
  );
  assert.ok(turns.take('interactive', 1));
  const started: string[] = [];
  function lane(name: string, count: number): void {
    if (turns.take('standard', 1)) started.push(name);
    else if (count > 0)
      turns.wait('standard', 1, () => {
        if (turns.takeTurn('standard', 1)) started.push(name);
        if (count > 1) lane(name, count - 1);
      });
  }
  for (const name of ['a', 'b', 'c', 'd']) lane(name, 3);
  ms = limits.hurryMs;
  for (let step = next.shift(); step !== undefined; step = next.shift()) step();
  for (const name of ['a', 'b', 'c', 'd']) assert.ok(started.includes(name), name);
  // Nobody is left in line: whoever comes now starts at once.
  assert.ok(turns.take('standard', 1));
});

test('in a hurry, too, an interactive lane waits for a place as all do', () => {
  const clock = createHandClock();
  const limits = { ...LIMITS, inFlight: 1, hurriedStarts: 1 };
  const turns = strangers(createTurns({ limits, pace: createPace({ clock, limits }) }));
  assert.ok(turns.take('interactive', 1));
  const started: string[] = [];
  turns.wait('interactive', 1, () => void (turns.takeTurn('interactive', 1) && started.push('first')));
  assert.ok(!turns.take('interactive', 1));
  turns.giveBack(1);
  assert.deepEqual(started, ['first']);
});

/** Takes as much as it gets, and stands in line for more. */
function takeAll(share: Share, line: Line = 'standard', bytes = 1): { readonly count: number } {
  let count = 0;
  let isWaiting = false;
  function more(): void {
    while (share.take(line, bytes)) count++;
    if (isWaiting) return;
    isWaiting = true;
    share.wait(line, bytes, () => {
      isWaiting = false;
      if (share.takeTurn(line, bytes)) count++;
      more();
    });
  }
  more();
  return {
    get count() {
      return count;
    },
  };
}

test('however much subscriptions hold without giving anything back, a new one finds room', () => {
  const turns = turnsOf(4_096);
  const hogs = Array.from({ length: 40 }, () => takeAll(turns.share()));
  assert.ok(hogs.every(({ count }) => count > 0));
  assert.ok(4_096 - turns.inFlight > 4_096 / 42);
  const next = takeAll(turns.share());
  assert.ok(next.count > 0);
  assert.ok(turns.inFlight < 4_096);
});

test('an app with any number of subscriptions leaves room for the others: they need not wait for what it holds', () => {
  const turns = turnsOf(4_096);
  const of = (app: string) => turns.share({ of: { environment: 'default', app } });
  const many = Array.from({ length: 5_000 }, () => takeAll(of('many')));
  assert.ok(
    many.some(({ count }) => count === 0),
    'it had all of them',
  );
  const [one, other] = [takeAll(of('one')), takeAll(of('other'))];
  assert.deepEqual([one.count >= 16, other.count >= 16], [true, true], `${one.count}, ${other.count}`);
  // Of its own it goes on with what comes back.
  const first = of('third');
  assert.ok(first.take('standard', 1));
});

test('one alone may have three eighths of the places, and of the bytes: more than the largest concurrency there is', () => {
  assert.equal(takeAll(turnsOf(15).share()).count, 6);
  assert.equal(takeAll(turnsOf(1_000, 160).share(), 'standard', 10).count, 6);
  assert.ok(takeAll(turnsOf(LIMITS.inFlight).share()).count > CONCURRENCY_MAX);
});

test('the last places are for interactive topics, and of others nobody in line is passed for it', () => {
  const turns = turnsOf(32);
  const others = Array.from({ length: 64 }, () => takeAll(turns.share()));
  assert.equal(turns.inFlight, 30);
  const interactive = turns.share();
  assert.ok(interactive.take('interactive', 1));
  assert.ok(turns.share().take('interactive', 1));
  assert.ok(!turns.share().take('interactive', 1));
  const before = others.map(({ count }) => count);
  interactive.giveBack(1);
  assert.deepEqual(
    others.map(({ count }) => count),
    before,
  );
});

test('who has its share steps aside, and comes back as soon as there is more room, though its own still hang', () => {
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, ...noHurry, inFlight: 12 };
  const turns = createTurns({ limits, pace: createPace({ clock: { ...createHandClock(), after }, limits }) });
  const other = turns.share();
  for (let taken = 0; taken < 5; taken++) assert.ok(other.take('standard', 1));
  const hog = takeAll(turns.share());
  assert.equal(hog.count, 3);
  // What it waits for keeps nobody else from starting at once.
  assert.ok(turns.share().take('standard', 1));
  for (let given = 0; given < 5; given++) other.giveBack(1);
  for (let step = next.shift(); step !== undefined; step = next.shift()) step();
  assert.equal(hog.count, 5);
});

test('whatever happens, nobody who might start is left waiting beside free room', () => {
  for (let seed = 1; seed <= 200; seed++) wander(seed);
});

/** Random lanes of random subscriptions: after each turn of the event loop whoever still waits could not start. */
function wander(seed: number): void {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, ...noHurry, inFlight: 1 + random(40), inFlightBytes: 1 + random(100) };
  const turns = createTurns({ limits, pace: createPace({ clock: { ...createHandClock(), after }, limits }) });
  const lanes = Array.from({ length: 1 + random(12) }, () => {
    const share = turns.share();
    return {
      share,
      line: (['interactive', 'standard', 'bulk', 'replay'] as const)[random(4)] as Line,
      underWay: 0,
      wants: 0,
      isWaiting: false,
    };
  });
  function pump(lane: (typeof lanes)[number]): void {
    while (lane.wants > 0 && !lane.isWaiting) {
      if (lane.share.take(lane.line, 1)) start(lane);
      else {
        lane.isWaiting = true;
        lane.share.wait(lane.line, 1, () => {
          lane.isWaiting = false;
          if (lane.wants > 0 && lane.share.takeTurn(lane.line, 1)) start(lane);
          pump(lane);
        });
      }
    }
  }
  function start(lane: (typeof lanes)[number]): void {
    lane.wants--;
    lane.underWay++;
  }
  for (let step = 0; step < 60; step++) {
    const lane = lanes[random(lanes.length)] as (typeof lanes)[number];
    if (random(2) === 0) lane.wants += random(8);
    else if (lane.underWay > 0) {
      lane.underWay--;
      lane.share.giveBack(1);
    }
    pump(lane);
    for (let turn = next.shift(), left = 100; turn !== undefined; turn = next.shift(), left--) {
      turn();
      assert.ok(left > 0, `seed ${seed}: the rounds do not end`);
    }
    for (const { share, line, wants, isWaiting } of lanes) {
      if (wants === 0) continue;
      assert.ok(isWaiting, `seed ${seed}`);
      // In a turn, so that only room and shares count; taken back at once.
      const could = share.takeTurn(line, 1);
      assert.ok(!could, `seed ${seed}, step ${step}: it could start and is left waiting`);
    }
    assert.ok(turns.inFlight <= limits.inFlight);
  }
}

test('deliveries that start are counted for their slot, those that find no place are not', () => {
  const turns = turnsOf(2);
  const [one, other] = [turns.share({ slot: 5 }), turns.share({ slot: 9 })];
  assert.ok(one.take('interactive', 1));
  one.giveBack(1);
  assert.ok(one.take('interactive', 1));
  assert.ok(other.take('interactive', 1));
  assert.ok(!other.take('interactive', 1));
  assert.deepEqual([turns.startedOf(5), turns.startedOf(9), turns.startedOf(0)], [2, 1, 0]);
});

test('an app with a quota has no more under way than that, in all its subscriptions, and keeps nobody else from starting', () => {
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, ...noHurry };
  const pace = createPace({ clock: { ...createHandClock(), after }, limits });
  const quotas: Record<string, number> = { noisy: 3 };
  const turns = createTurns({ limits, pace, quotaOf: (_environment, app) => quotas[app] });
  const [one, other] = [0, 1].map(() => turns.share({ of: { environment: 'default', app: 'noisy' } })) as [Share, Share];
  for (const share of [one, other, one]) assert.ok(share.take('standard', 1));
  const turn = (): void => assert.ok(other.takeTurn('standard', 1));
  assert.ok(!other.take('standard', 1));
  other.wait('standard', 1, turn);
  assert.ok(turns.share({ of: { environment: 'default', app: 'quiet' } }).take('standard', 1));
  const run = (): void => {
    for (let step = next.shift(); step !== undefined; step = next.shift()) step();
  };
  run();
  const before = turns.inFlight;
  // Given back by a sister of the same app.
  one.giveBack(1);
  run();
  assert.equal(turns.inFlight, before);
  assert.ok(!one.take('standard', 1));
  quotas['noisy'] = 4;
  assert.ok(one.take('standard', 1));
});

test('a place of the quota that one leaves unused is the turn of the next one of the app', () => {
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, ...noHurry };
  const turns = createTurns({ limits, pace: createPace({ clock: { ...createHandClock(), after }, limits }), quotaOf: () => 1 });
  const [first, ...others] = Array.from({ length: 50 }, () => turns.share({ of: { environment: 'default', app: 'shop' } }));
  assert.ok(first?.take('standard', 1));
  let turnsHad = 0;
  for (const [at, other] of others.entries()) {
    assert.ok(!other.take('standard', 1));
    other.wait('standard', 1, () => {
      turnsHad++;
      // Only the tenth of them has something left to send by then, and every fifth after it.
      if (at >= 9 && at % 5 === 4) assert.ok(other.takeTurn('standard', 1));
    });
  }
  const run = (): void => {
    for (let step = next.shift(); step !== undefined; step = next.shift()) step();
  };
  first?.giveBack(1);
  run();
  assert.deepEqual([turnsHad, turns.inFlight], [10, 1]);
  others[9]?.giveBack(1);
  run();
  assert.deepEqual([turnsHad, turns.inFlight], [15, 1]);
});
