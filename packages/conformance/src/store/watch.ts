/** Watching the directory. */
import assert from 'node:assert/strict';
import type { Change, Directory } from '@millrace/gateway/ports/directory';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import { rejectsWith } from '../log/world.ts';
import { app, same } from './world.ts';
import type { OpenedStores } from './world.ts';

/** Everything a watcher is told; `until` resolves when it has been told of so many changes. */
function listen(directory: Directory) {
  const changes: Change[] = [];
  let check = () => {};
  const stop = directory.watch((change) => {
    changes.push(change);
    check();
  });
  return {
    changes,
    stop,
    async until(count: number): Promise<readonly Change[]> {
      await new Promise<void>((resolve) => {
        check = () => changes.length >= count && resolve();
        check();
      });
      return changes;
    },
  };
}

export const watching: Behaviours<OpenedStores> = {
  'tells of what is created, changed and deleted': async ({ directory }) => {
    const watcher = listen(directory);
    const first = await directory.put('app', 'default', 'shop', app('1'));
    const second = await directory.put('app', 'default', 'shop', app('2'));
    await directory.delete('app', 'default', 'shop');
    const place = { kind: 'app', environment: 'default', id: 'shop' };
    same(await watcher.until(3), [{ ...place, now: first }, { ...place, now: second }, place]);
  },

  'tells of the changes of one resource in their order': async ({ directory }) => {
    const watcher = listen(directory);
    const { version } = await directory.put('app', 'default', 'shop', app('0'));
    await Promise.all(Array.from({ length: 50 }, (_, i) => directory.put('app', 'default', 'shop', app(`${i + 1}`))));
    const seen = (await watcher.until(51)).map(({ now }) => now?.version);
    assert.deepEqual(
      seen,
      Array.from({ length: 51 }, (_, i) => version + i),
    );
    same(watcher.changes.at(-1)?.now, await directory.get('app', 'default', 'shop'));
  },

  'tells of all kinds and environments': async ({ directory }) => {
    const watcher = listen(directory);
    await directory.put('app', 'staging', 'x', app('x'));
    await directory.put('key', 'default', 'y', { app: 'x', hash: 'h', prefix: 'p', scopes: ['publish'], createdMs: 1 });
    assert.deepEqual((await watcher.until(2)).map(({ kind, environment, id }) => `${kind} ${environment} ${id}`).toSorted(), [
      'app staging x',
      'key default y',
    ]);
  },

  'tells of nothing where nothing changed': async ({ directory }) => {
    const watcher = listen(directory);
    const first = await directory.put('app', 'default', 'shop', app('1'));
    await rejectsWith('already_exists', directory.put('app', 'default', 'shop', app('2'), 'absent'));
    await rejectsWith('version_mismatch', directory.put('app', 'default', 'shop', app('2'), first.version + 1));
    await rejectsWith('version_mismatch', directory.delete('app', 'default', 'shop', first.version + 1));
    await directory.delete('app', 'default', 'nobody');
    await directory.get('app', 'default', 'shop');
    const last = await directory.put('app', 'default', 'shop', app('3'));
    same(
      (await watcher.until(2)).map(({ now }) => now),
      [first, last],
    );
  },

  'tells every watcher, and none that was taken back': async ({ directory }) => {
    const [one, two, gone] = [listen(directory), listen(directory), listen(directory)];
    await directory.put('app', 'default', 'shop', app('1'));
    await Promise.all([one, two, gone].map((watcher) => watcher.until(1)));
    const putting = directory.put('app', 'default', 'shop', app('2'));
    gone.stop();
    gone.stop();
    await putting;
    await Promise.all([one, two].map((watcher) => watcher.until(2)));
    assert.equal(gone.changes.length, 1);
  },

  'shows what it tells of to who asks': async ({ directory }) => {
    const asked = new Promise<unknown>((resolve) => {
      directory.watch(({ id }) => resolve(directory.get('app', 'default', id)));
    });
    const put = await directory.put('app', 'default', 'shop', app('1'));
    same(await asked, put);
  },

  'tells of what other nodes change': async ({ directory, peer }, context) => {
    if (peer === undefined) return context.skip(gap('these stores belong to one node'));
    const other = (await peer()).directory;
    const watcher = listen(directory);
    const put = await other.put('app', 'default', 'shop', app('1'));
    await other.delete('app', 'default', 'shop');
    same(await watcher.until(2), [
      { kind: 'app', environment: 'default', id: 'shop', now: put },
      { kind: 'app', environment: 'default', id: 'shop' },
    ]);
  },
};
