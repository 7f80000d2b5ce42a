/** The cable between a browser and a gateway, for a test to pull out: a TCP proxy with a port of its own. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface Cable {
  readonly url: string;
  /** From now on nothing gets through, and nobody is told: no end, no reset. New connections are taken, and silent as well. */
  pull(): void;
  /** The same, and those who are connected are told: as a machine tells its programs that its network is gone. */
  cut(): void;
  /**
   * What is connected from now on works, and what was taken meanwhile is to come again. What was connected before `pull` stays silent, as behind a
   * router that has forgotten it.
   */
  plugIn(): void;
}

export async function layCable(t: Pick<TestContext, 'after'>, port: number): Promise<Cable> {
  const sockets = new Set<Socket>();
  const pairs = new Set<readonly [Socket, Socket]>();
  /** Taken while the cable was out. */
  const early = new Set<Socket>();
  let isPulled = false;

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    return socket;
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    keep(near);
    if (isPulled) return void early.add(near);
    const far = keep(connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.pipe(to);
      // Whoever ends hard is passed on so: a gateway that was killed or is not there, a page that is gone.
      from.on('close', (hadError) => {
        if (!pairs.delete(pair)) return;
        if (hadError) to.resetAndDestroy();
        else to.destroySoon();
      });
    }
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pull() {
      isPulled = true;
      for (const [near, far] of pairs)
        for (const socket of [near, far]) {
          socket.unpipe();
          socket.pause();
        }
      pairs.clear();
    },
    cut() {
      isPulled = true;
      const cutOff = [...pairs].flat();
      pairs.clear();
      for (const socket of cutOff) socket.resetAndDestroy();
    },
    plugIn() {
      isPulled = false;
      for (const socket of early) socket.resetAndDestroy();
      early.clear();
    },
  };
}
