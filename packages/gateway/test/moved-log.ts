/** A gateway by hand whose log is moved: stopped on one log, and started again on another. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import type { Gateway } from '../src/api.ts';
import { createGateway } from '../src/gateway.ts';
import { type Migrated, type MigrateOptions, migrateLog } from '../src/migrate/migrate-log.ts';
import type { Directory } from '../src/ports/directory.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import type { Log } from '../src/ports/log.ts';
import { createVault } from '../src/vault.ts';
import { type HandWorld, settle } from './clock.ts';

type Migration = Parameters<typeof migrateLog>[0];

export interface Move {
  readonly data: string;
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  /** Once; again where an earlier call ended too soon. */
  run(options?: Partial<MigrateOptions & Pick<Migration, 'reached'>>): Promise<Migrated>;
  /** By which moment each run has judged what is too old. */
  readonly judgedMs: readonly number[];
  /** The log can't go on, and says so. */
  fail(error: Error): void;
  /** The gateway on what was moved; its deliveries go to the sender of the world. */
  start(): Promise<Gateway>;
}

/** From the log of the world, whose gateway has been stopped or abandoned. */
export function moveOf(
  t: Pick<TestContext, 'after'>,
  world: HandWorld,
  { log = createMemoryLog({ now: world.clock.now }), from = world.log }: { readonly log?: Log; readonly from?: Log } = {},
): Move {
  const data = mkdtempSync(join(tmpdir(), 'millrace-move-'));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  const directory = createMemoryDirectory();
  const ledger = createMemoryLedger();
  const close = async (): Promise<void> => undefined;
  const judgedMs: number[] = [];
  let fail: (error: Error) => void = () => undefined;
  return {
    data,
    log,
    directory,
    ledger,
    run: (options = {}) =>
      migrateLog({
        data,
        log: 'memory://there',
        now: world.clock.now,
        open: {
          async former({ nowMs }) {
            judgedMs.push(nowMs);
            return { log: from, directory: world.directory, ledger: world.ledger, close };
          },
          // Closed, a log in memory would be gone.
          async log({ onFailure }) {
            fail = onFailure;
            return { ...log, close };
          },
          store: async () => ({ directory, ledger, close }),
        },
        ...options,
      }),
    judgedMs,
    fail: (error) => fail(error),
    async start() {
      const vault = createVault(new Uint8Array(32).fill(7));
      const ports = { log, directory, ledger, sender: world.sender, clock: world.clock, vault };
      const gateway = createGateway({ ports, limits: {}, onNotice: (notice) => world.notices.push(notice) });
      t.after(() => gateway.abandon());
      await gateway.start();
      await settle();
      return gateway;
    },
  };
}
