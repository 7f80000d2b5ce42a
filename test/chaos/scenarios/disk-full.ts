/** The disk is full, and free again: while it runs, and over a kill and a start without any space. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../api.ts';
import { type Disk, mountDisk } from '../disk.ts';
import { inWorld, type Outcome, type Plan, type Scenario } from '../scenario.ts';
import { pass, within } from '../waiting.ts';
import type { World } from '../world.ts';

const DISK_MB = 96;
const RUNS_MS = 1_500;
/** Answers `log_full` before it is taken as said. */
const REFUSALS = 20;
const FULL_MS = 60_000;
const START_MS = 30_000;

export const diskFull: Scenario = {
  name: 'disk-full',
  what: 'no space left while running, at a kill and at a start: 507, nothing lost, and on by itself once there is space',
  async run(plan) {
    const disk = mountDisk(DISK_MB);
    if (typeof disk === 'string') return { skipped: disk, breaches: [], notes: [] };
    try {
      return await onDisk(disk, plan);
    } finally {
      disk.unmount();
    }
  },
};

async function onDisk(disk: Disk, plan: Plan): Promise<Outcome> {
  const data = join(disk.path, 'data');
  const outcome = await inWorld({ name: 'disk-full', plan, data }, async (world, note) => {
    world.load();
    await pass(RUNS_MS);
    await fullWhileRunning(world, disk, plan);
    await pass(RUNS_MS);
    await killedWhileFull(world, disk, note, plan);
    await pass(RUNS_MS);
  });
  if (outcome.kept !== undefined) cpSync(data, join(outcome.kept, 'data'), { recursive: true });
  return outcome;
}

async function fullWhileRunning(world: World, disk: Disk, plan: Plan): Promise<void> {
  const { gateway } = world;
  plan.say('full while running');
  await fullUntilRefused(world, disk);
  const { status } = await ask(await world.up(), 'GET /livez');
  if (status !== 200) world.book.breach(`/livez of a full disk was answered ${status}`);
  await freed(world, disk, plan);
  if (world.gateway !== gateway) world.book.breach('it did not go on by itself');
}

async function killedWhileFull(world: World, disk: Disk, note: (text: string) => void, plan: Plan): Promise<void> {
  const { book } = world;
  plan.say('killed while full');
  await fullUntilRefused(world, disk);
  await world.end('kill');
  disk.fill();
  const gateway = world.start();
  world.expectRefusal();
  await within(
    START_MS,
    'a start on a full disk comes to something',
    Promise.race([gateway.ready.catch(() => undefined), gateway.ended]),
  );
  if (!gateway.isOver) {
    note('a start on a full disk is ready, and waits for space');
    await fullUntilRefused(world, disk);
    return freed(world, disk, plan);
  }
  const { how, stderr } = await gateway.ended;
  book.life.end = 'crash';
  note(`a start on a full disk is refused (${how}): ${stderr.trim().replaceAll('\n', ' ')}`);
  if (how !== 1 || stderr.includes('    at ')) book.breach(`a start on a full disk ended with ${how}: ${stderr}`);
  disk.free();
  world.start();
  await world.up();
}

/** Publishers say when: the first bytes after the ballast may still find room within what the store has. */
async function fullUntilRefused({ book }: World, disk: Disk): Promise<void> {
  disk.fill();
  const before = book.answers.get('log_full') ?? 0;
  await within(FULL_MS, 'publishes are answered 507 log_full', refused());

  async function refused(): Promise<void> {
    while ((book.answers.get('log_full') ?? 0) < before + REFUSALS) {
      await book.changed();
      disk.fill();
    }
  }
}

async function freed({ book }: World, disk: Disk, plan: Plan): Promise<void> {
  plan.say('free again');
  const taken = book.answers.get('202') ?? 0;
  const { progress } = book;
  disk.free();
  await within(FULL_MS, 'publishes are taken and deliveries go on once there is space', goesOn());

  async function goesOn(): Promise<void> {
    while ((book.answers.get('202') ?? 0) <= taken || book.progress <= progress) await book.changed();
  }
}
