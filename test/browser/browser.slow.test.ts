/**
 * The page of examples/8-browser in a real Chromium, with the SDK that a real gateway serves, while the gateway is killed, tokens end and the network
 * goes: over WebSocket and over server-sent events. It prints where its screenshots are.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { chromium } from '../../scripts/runtimes/chromium.ts';
import { findRuntime } from '../../scripts/runtimes/find.ts';
import { type Counter, startCounter } from './counter.ts';
import type { Desk } from './desk.ts';
import { PICTURES, takePicture, takeSmallPicture } from './pictures.ts';
import { type Stage, stage } from './stage.ts';

/** After the first one pages come back by themselves, after the second one somebody clicks who does not like to wait. */
const KILLS = 2;
const TRANSPORTS = ['ws', 'sse'] as const;

interface Play extends Stage {
  readonly desks: readonly Desk[];
  readonly counter: Counter;
  /** Shown where it fails: how far it came. */
  say(what: string): void;
}

async function begin(t: TestContext, path: string): Promise<Play> {
  const startedMs = performance.now();
  const its = await stage(t, { path, data: temporary(t) });
  const desks = await Promise.all(TRANSPORTS.map(its.open));
  const counter = startCounter(t, { url: its.address, key: its.key });
  const say = (what: string): void => {
    const atSeconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    console.log(`${atSeconds} s: ${what}: ${counter.count} orders, ${desks.map(tell).join('; ')}`);
  };
  return { ...its, desks, counter, say };
}

/** All that was published by now is here, in both subscriptions of both pages. */
async function caughtUp({ desks, counter }: Play): Promise<void> {
  const published = new Map([[counter.source, counter.count], ...desks.flatMap((desk) => [...desk.published])]);
  for (const desk of desks)
    for (const book of [desk.seen, desk.worked])
      await desk.until(() => [...published].every(([source, count]) => book.upTo(source) >= count));
}

/** How many states each has told. */
const toldBy = (desks: readonly Desk[]): ReadonlyMap<Desk, number> => new Map(desks.map((desk) => [desk, desk.states.length]));

async function each(desks: readonly Desk[], work: (desk: Desk) => Promise<unknown>): Promise<void> {
  await Promise.all(desks.map(work));
}

const pictures = (desks: readonly Desk[], name: string): Promise<void> =>
  each(desks, ({ page, transport }) => takePicture(page, `${name}-${transport}`));

/** How many of its own a page has published, by whatever name. */
const publishedBy = ({ published }: Desk): number => [...published.values()].reduce((sum, one) => sum + one, 0);

const tell = (desk: Desk): string =>
  `${desk.transport} ${JSON.stringify(desk.states.at(-1))} published ${publishedBy(desk)}, ${desk.confirmed.size} confirmed`;

/** Each page orders ten; resolves with what is to be waited for. */
async function orderTen(desks: readonly Desk[]): Promise<() => Promise<void>> {
  const wanted = new Map(desks.map((desk) => [desk, publishedBy(desk) + 10]));
  await each(desks, (desk) => desk.order('ten'));
  return () => each(desks, (desk) => desk.until(() => publishedBy(desk) === wanted.get(desk)));
}

/** A token ends: another one is taken within the same connection. */
async function refreshTokens(play: Play): Promise<void> {
  const { desks } = play;
  const before = toldBy(desks);
  const all = await orderTen(desks);
  await each(desks, (desk) => desk.until(() => desk.authed > 0));
  assert.deepEqual(toldBy(desks), before, 'the connections were the same all the time');
  await all();
  await caughtUp(play);
  play.say('tokens refreshed');
  await pictures(desks, '1-token-refreshed');
}

/** The gateway is killed, while all publish. */
async function killGateway(play: Play, kill: number): Promise<void> {
  const { desks } = play;
  const all = await orderTen(desks);
  const told = toldBy(desks);
  await play.restart();
  if (kill > 1) await each(desks, (desk) => desk.reopened(told.get(desk) ?? 0));
  await all();
  await caughtUp(play);
  play.say(`killed ${kill} times`);
}

/** The network goes, and the browser knows it. What a page publishes waits; what others publish is there when it is back. */
async function goOffline(play: Play): Promise<void> {
  const { desks, counter, cable } = play;
  cable.cut();
  await each(desks, ({ context }) => context.setOffline(true));
  const all = await orderTen(desks);
  await counter.reached(counter.count + 25);
  const told = toldBy(desks);
  cable.plugIn();
  await each(desks, ({ context }) => context.setOffline(false));
  await each(desks, (desk) => desk.reopened(told.get(desk) ?? 0));
  await all();
  await caughtUp(play);
  play.say('online again');
}

/** Nobody knows that the network is gone: only the silence tells. */
async function fallSilent(play: Play): Promise<void> {
  const { desks, cable } = play;
  const told = toldBy(desks);
  cable.pull();
  const all = await orderTen(desks);
  await each(desks, async (desk) => {
    const from = told.get(desk) ?? 0;
    await desk.until(() => desk.states.length > from);
    assert.equal(desk.states[from]?.state, 'waiting');
  });
  play.say('silence noticed');
  await pictures(desks, '2-silent');
  cable.plugIn();
  await each(desks, (desk) => desk.reopened(told.get(desk) ?? 0));
  await all();
  await caughtUp(play);
  play.say('heard again');
}

/** The pages are loaded anew, and go on from where they were. */
async function loadAgain({ desks }: Play): Promise<void> {
  const repeated = desks.map(({ seen }) => seen.repeats.length);
  assert.deepEqual(repeated, [0, 0], 'a subscription without a group repeats nothing while its page lives');
  await each(desks, (desk) => desk.load());
  await each(desks, (desk) => desk.order('one'));
  await each(desks, (desk) => desk.until(() => desk.published.get(desk.source) === 1));
}

const { path, skip } = findRuntime(chromium);

describe('a page in Chromium', { timeout: 200_000, skip }, () => {
  test('loses nothing, and repeats nothing whose ack was confirmed, whatever happens to gateway, token and network', async (t) => {
    const play = await begin(t, path);
    const { desks, counter, cable } = play;
    await refreshTokens(play);
    for (let kill = 1; kill <= KILLS; kill++) await killGateway(play, kill);
    await goOffline(play);
    await fallSilent(play);
    await loadAgain(play);
    const count = await counter.stop();
    await caughtUp(play);
    play.say('loaded again');
    await pictures(desks, '3-after-all');
    await each(desks, ({ page, transport }) => takeSmallPicture(page, `4-small-${transport}`));
    console.log(`screenshots: ${PICTURES}`);
    for (const desk of desks) {
      assert.deepEqual([...desk.breaches, ...desk.seen.breaches, ...desk.worked.breaches], []);
      assert.ok(desk.sdks.length > 0 && desk.sdks.every((url) => url.startsWith(`${cable.url}/sdk/`)), String(desk.sdks));
      t.diagnostic(
        `${count} orders, ${desk.confirmed.size} acks confirmed, ${desk.authed} tokens in band, ${desk.worked.repeats.length} came again unconfirmed`,
      );
    }
  });
});
