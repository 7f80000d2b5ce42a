/** The conversations of spec/vectors/realtime, held by this client with a scripted server. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { connect, type Handler, type Message, type State, type Subscription, type Token, UnauthorizedError } from './millrace.ts';
import { type Frame, handClock, handServer, settle } from './test/hand.ts';

const FOLDER = new URL('../../spec/vectors/realtime/', import.meta.url);

// oxlint-disable-next-line typescript/no-explicit-any -- steps of every shape; the README of the vectors says which there are
type Step = any;

interface Conversations {
  readonly conversations: readonly { readonly name: string; readonly steps: readonly Step[] }[];
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.json'))) {
  const { conversations } = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Conversations;
  describe(`a client, ${file.replace('.json', '')}`, { timeout: 10_000 }, () => {
    for (const { name, steps } of conversations)
      test(name, async () => {
        const stage = createStage();
        for (const [at, step] of steps.entries())
          try {
            await stage.do(step);
          } catch (error) {
            throw new Error(`step ${at + 1}, ${JSON.stringify(step)}: ${(error as Error).message}`, { cause: error });
          }
        stage.nothingLeft();
      });
  });
}

interface Running {
  readonly sub: string;
  readonly id: string;
  readonly message: Message;
  readonly end: { resolve(): void; reject(error: unknown): void };
}

function createStage() {
  const [clock, server] = [handClock(), handServer()];
  const tokens: { readonly reason: string; answer(token: Token): void; refuse(error: Error): void }[] = [];
  const asked: string[] = [];
  const states: State[] = [];
  const gaps: { readonly sub: string; readonly reason: string }[] = [];
  const errors: Frame[] = [];
  const begun: Running[] = [];
  const running: Running[] = [];
  const subscriptions = new Map<string, Subscription>();

  const gateway = connect({
    url: 'https://gateway.test',
    transports: [server.transport],
    clock,
    getToken: ({ reason }) =>
      new Promise<Token>((answer, refuse) => {
        asked.push(reason);
        tokens.push({ reason, answer, refuse });
      }),
    timeoutMs: 86_400_000,
    hooks: { onState: (state) => states.push(state), onError: (error) => errors.push(error) },
  });

  function handlerOf(sub: string): Handler {
    return (event, message) =>
      new Promise<void>((resolve, reject) => {
        const one = { sub, id: event.id, message, end: { resolve, reject } };
        begun.push(one);
        running.push(one);
      });
  }

  function client(what: Step): void {
    if (what === 'close') void gateway.close();
    else if (what === 'wake') gateway.wake();
    else if (what.subscribe !== undefined) {
      const { subscribe: name, topics, ...more } = what;
      const onGap = ({ reason }: { readonly reason: string }) => gaps.push({ sub: name, reason });
      subscriptions.set(name, gateway.subscribe(topics, handlerOf(name), { ...more, onGap }));
    } else void subscriptions.get(what.close ?? what.closeNow)?.close({ now: what.closeNow !== undefined });
  }

  function serve(what: Step): void {
    if (what === 'open') server.on.open();
    else if (what.close !== undefined) server.on.close(what.close, '');
    else server.on.message(what.text ?? JSON.stringify(what.frame ?? what.frames));
  }

  function expect(what: Step): void {
    if (what === 'nothing') return nothingLeft();
    if (what === 'dial') return assert.ok(server.dials.shift(), 'it did not dial');
    if (what.token !== undefined) return assert.equal(asked.shift(), what.token);
    if (what.frame !== undefined) return has(server.frames.shift(), what.frame);
    if (what.close !== undefined) return assert.equal(server.closes.shift(), what.close);
    if (what.gap !== undefined) return assert.deepEqual(gaps.shift(), { sub: what.gap, reason: what.reason });
    if (what.error !== undefined) return assert.equal(errors.shift()?.code, what.error);
    if (what.event !== undefined) {
      const one = begun.shift();
      return assert.deepEqual([one?.sub, one?.id], [what.sub, what.event]);
    }
    has(states.at(-1), what.state);
  }

  function answer(what: Step): void {
    const one = tokens.shift();
    assert.ok(one, 'it did not ask for a token');
    if (what === 'fails') one.refuse(new Error('the backend is away'));
    else if (what === 'unauthorized') one.refuse(new UnauthorizedError('logged out'));
    else one.answer(what.token);
  }

  async function handler({ handler: id, resolves, throws, nacks }: Step): Promise<void> {
    const at = running.findIndex((one) => one.id === id);
    const one = running[at];
    assert.ok(one, `no handler is at ${id}`);
    if (nacks !== undefined) return void one.message.nack(nacks).catch(() => undefined);
    if (resolves === undefined && throws === undefined) return void one.message.ack().catch(() => undefined);
    running.splice(at, 1);
    if (resolves) one.end.resolve();
    // What is thrown need not be an Error, and is said as it is.
    else one.end.reject(throws);
    await settle();
    if (throws !== undefined) errors.shift();
  }

  async function greet({ token, reason = 'connect', ...welcome }: Step): Promise<void> {
    expect({ token: reason });
    answer({ token });
    await settle();
    expect('dial');
    server.on.open();
    await settle();
    expect({ frame: { op: 'hello', v: 1, token } });
    serve({ frame: { op: 'welcome', session: 'ses_1', heartbeatMs: 25_000, nowMs: 0, ...welcome } });
  }

  const isOver = (): boolean => gateway.state.state === 'waiting';

  function nothingLeft(): void {
    const left = {
      asked,
      frames: server.frames,
      closes: server.closes,
      dials: server.dials.length,
      events: begun.map(({ id }) => id),
    };
    assert.deepEqual(left, { asked: [], frames: [], closes: [], dials: 0, events: [] });
  }

  return {
    nothingLeft,
    async do(step: Step) {
      if (step.client !== undefined) client(step.client);
      else if (step.server !== undefined) serve(step.server);
      else if (step.late !== undefined) (isOver() ? server.on : server.before)?.message(JSON.stringify(step.late));
      else if (step.expect !== undefined) expect(step.expect);
      else if (step.answer !== undefined) answer(step.answer);
      else if (step.handler !== undefined) await handler(step);
      else if (step.greet !== undefined) await greet(step.greet);
      else if (step.passes !== undefined) await clock.advance(step.passes);
      else if (step.sleeps !== undefined) clock.sleep(step.sleeps);
      else if (step.random !== undefined) clock.chance = step.random;
      else throw new Error('no such step');
      await settle();
    },
  };
}

/** What is named is so, as deep as it is named; null: it is not there. Numbers may differ by what floating point makes of them. */
function has(found: Frame, wanted: Frame): void {
  for (const [name, value] of Object.entries(wanted)) {
    const one = found?.[name];
    if (value === null) assert.equal(one, undefined, `${name} is there: ${JSON.stringify(found)}`);
    else if (typeof value === 'number' && typeof one === 'number')
      assert.ok(Math.abs(one - value) < 1e-6, `${name}: ${one} for ${value}`);
    else assert.deepEqual(one, value, `${name} of ${JSON.stringify(found)}`);
  }
}
