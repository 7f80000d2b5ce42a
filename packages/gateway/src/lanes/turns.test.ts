/** Turns: the process's bound on what is under way, shared fairly once it is full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock, settle } from '../../test/clock.ts';
import { LIMITS } from '../limits.ts';
import { createPace } from '../pace.ts';
import { createTurns, type Line, type Turns } from './turns.ts';

const noHurry = createPace({ clock: createHandClock(), limits: LIMITS });
const made = (inFlight: number, inFlightBytes = LIMITS.inFlightBytes): Turns =>
  createTurns({ limits: { ...LIMITS, inFlight, inFlightBytes }, pace: noHurry });

/** A lane that always has more to send: it stands in line again as soon as it had its turn. */
function eager(turns: Turns, line: Line, served: Line[]): void {
  turns.wait(line, () => {
    if (turns.takeTurn(line, 1)) served.push(line);
    eager(turns, line, served);
  });
}

/** Ends one delivery after the other, `count` times. */
function servedIn(turns: Turns, lines: readonly Line[], count: number): Line[] {
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
  turns.wait('standard', () => undefined);
  assert.ok(!turns.take('standard', 1));
});

test('a place given back is the turn of one who waits, first come first served within a line', () => {
  const turns = made(1);
  turns.take('standard', 1);
  const order: string[] = [];
  for (const name of ['a', 'b', 'c']) turns.wait('standard', () => void (turns.takeTurn('standard', 1) && order.push(name)));
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
    turns.wait(line, () => void (turns.takeTurn(line, 1) && order.push(line)));
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
  turns.wait('standard', () => void order.push('left'));
  turns.wait('standard', () => void (turns.takeTurn('standard', 1) && order.push('took')));
  turns.giveBack(1);
  assert.deepEqual(order, ['left', 'took']);
});

test('those who stand in line again without starting do not make a round endless', () => {
  const turns = made(2);
  turns.take('standard', 1);
  turns.take('standard', 1);
  let asked = 0;
  const again = (): void =>
    turns.wait('standard', () => {
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
  turns.wait('bulk', () => void served++);
  await settle();
  assert.equal(served, 1);
});

test('in a hurry few others start in one turn of the event loop, and the interactive all', () => {
  let ms = 0;
  const next: (() => void)[] = [];
  const after = (_delayMs: number, step: () => void) => ({ cancel: () => undefined, at: next.push(step) });
  const limits = { ...LIMITS, hurriedStarts: 2 };
  const turns = createTurns({
    limits,
    pace: createPace({ clock: { ...createHandClock(), after, monotonic: () => ms }, limits }),
  });
  const took = (count: number): boolean[] => Array.from({ length: count }, () => turns.take('bulk', 1));
  assert.deepEqual(took(3), [true, true, true]);
  assert.ok(turns.take('interactive', 1));
  assert.deepEqual(took(3), [true, true, true]);
  next.shift()?.();
  assert.deepEqual(took(3), [true, true, false]);
  const started: string[] = [];
  for (const line of ['replay', 'bulk', 'bulk', 'standard'] as const)
    turns.wait(line, () => void (turns.takeTurn(line, 1) && started.push(line)));
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
  const turns = createTurns({
    limits,
    pace: createPace({ clock: { ...createHandClock(), after, monotonic: () => ms }, limits }),
  });
  assert.ok(turns.take('interactive', 1));
  const started: string[] = [];
  function lane(name: string, count: number): void {
    if (turns.take('standard', 1)) started.push(name);
    else if (count > 0)
      turns.wait('standard', () => {
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
  const turns = createTurns({ limits, pace: createPace({ clock, limits }) });
  assert.ok(turns.take('interactive', 1));
  const started: string[] = [];
  turns.wait('interactive', () => void (turns.takeTurn('interactive', 1) && started.push('first')));
  assert.ok(!turns.take('interactive', 1));
  turns.giveBack(1);
  assert.deepEqual(started, ['first']);
});
