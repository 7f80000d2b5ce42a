/**
 * The store thread. It works off everything that has arrived as one group: writes in one transaction, answers for all,
 * then the reads; then whatever has arrived meanwhile. There is no timer: under load groups grow, alone each is one call.
 */
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { openClaimsStore } from './claims-store.ts';
import type { ClaimsStore } from './claims-store.ts';
import { createClients } from './clients.ts';
import type { Asked, Client } from './clients.ts';
import { openDirectoryStore } from './directory-store.ts';
import type { DirectoryStore } from './directory-store.ts';
import { isStorageError, problemOf } from './faults.ts';
import { answer, commitGroup, refusal } from './group.ts';
import { createLeaseStore } from './lease-store.ts';
import { openLedgerStore } from './ledger-store.ts';
import type { LedgerStore } from './ledger-store.ts';
import { lockDirectory } from './lock.ts';
import { makeDirectory } from './make-directory.ts';
import { openLogStore } from './log-store.ts';
import type { LogStore } from './log-store.ts';
import type { Answer, CallName, Calls, Ready, Setup, Told } from '../messages.ts';
import { isWrite, partOf } from '../parts.ts';
import { keepAllPrivate } from './private-file.ts';
import { openState } from './state.ts';
import type { State } from './state.ts';
import { openWriteBack } from './write-back.ts';

const port = parentPort!;

const setup = workerData as Setup;
/** Of what retention takes all are told. */
let took = (removedThrough: number): void => tell({ removedThrough });
try {
  serve(open(setup));
} catch (error) {
  const { code, message, advice } = problemOf(error, { directory: setup.directory, part: 'log' });
  tell({ refused: { code, message, advice } });
}

/** What is answered at once. */
type PlainCall = Exclude<CallName, 'trim' | 'connect' | 'close'>;
type PlainCalls = { readonly [Name in PlainCall]: (value: Calls[Name][0], nowMs: number, client: Client) => Calls[Name][1] };

interface Stores {
  readonly state: State;
  readonly log: LogStore;
  readonly ledger: LedgerStore;
  readonly resources: DirectoryStore;
  readonly claims: ClaimsStore;
  unlock(): void;
}

function open({ directory, ...options }: Setup): Stores {
  makeDirectory(join(directory, 'segments'));
  const unlock = lockDirectory(directory);
  try {
    keepAllPrivate(join(directory, 'segments'));
    const state = openState(directory, options);
    const log = openLogStore(state, { ...options, turn, took: (removedThrough) => took(removedThrough) });
    const ledger = openLedgerStore(state, { turn });
    const resources = openDirectoryStore(state);
    const claims = openClaimsStore(state);
    state.begin(options.relaxed);
    return { state, log, ledger, resources, claims, unlock };
  } catch (error) {
    unlock();
    throw error;
  }
}

function serve({ state, log, ledger, resources, claims, unlock }: Stores): void {
  const { directory } = state;
  const context = { state, apply, mark };
  const writeBack = openWriteBack(state.db, state.path);
  const leases = createLeaseStore(ledger);
  const clients = createClients({ log, work, onGone: ({ number }) => leases.gone(number) });
  took = clients.tellAll;

  function mark(): () => void {
    const undoLog = log.mark();
    return () => {
      undoLog();
      ledger.reload();
      claims.reload();
    };
  }

  const calls: PlainCalls = {
    ...ledger,
    ...resources,
    ...claims,
    ...leases,
    leaseRenew: (value, _nowMs, { number }) => leases.leaseRenew(value, number),
    append: (batch, nowMs, { refs }) => log.append(batch, nowMs, refs),
    declareTopic: log.declareTopic,
    read: log.read,
    fetch: log.fetch,
    positionAt: log.positionAt,
    bounds: (_, nowMs) => log.bounds(nowMs),
  };

  function apply({ call, value, nowMs, client }: Asked): unknown {
    return calls[call as PlainCall](value as never, nowMs, client);
  }

  function work(questions: readonly Asked[]): void {
    for (const { call, value, client } of questions) if (call === 'append') client.refs.learn(value as Calls['append'][0]);
    const writes = questions.filter(({ call }) => isWrite(call));
    if (writes.length > 0) {
      clients.tellWritten(writes, commitGroup(writes, context));
      writeBack.look();
    }
    rotate(questions.at(-1)!.nowMs);
    ledger.purgeQuietly();
    for (const question of questions) if (!isWrite(question.call)) workRead(question);
  }

  function workRead(question: Asked): void {
    if (question.call === 'trim') void trim(question);
    else if (question.call === 'close') void close(question);
    else if (question.call === 'connect') connect(question);
    else question.client.answer([tried(question)]);
  }

  function connect({ number, value, client }: Asked): void {
    clients.add(value as Calls['connect'][0], ready());
    client.answer([{ number, value: null }]);
  }

  function tried(question: Asked): Answer {
    try {
      return answer(question, apply);
    } catch (error) {
      return refusal(question, problemOf(error, { directory, part: partOf(question.call) }));
    }
  }

  /** Where there is no space for another hot table the present one grows on. */
  function rotate(nowMs: number): void {
    try {
      log.rotate(nowMs);
    } catch (error) {
      if (!isStorageError(error)) throw error;
    }
  }

  async function trim(question: Asked): Promise<void> {
    try {
      await log.trim(question.nowMs);
      await ledger.purge();
      question.client.answer([{ number: question.number, value: null }]);
    } catch (error) {
      question.client.answer([refusal(question, problemOf(error, { directory, part: 'log' }))]);
    }
  }

  async function close({ number, client }: Asked): Promise<void> {
    await log.close();
    await ledger.close();
    await writeBack.close();
    try {
      state.close();
    } finally {
      unlock();
    }
    client.answer([{ number, value: null }]);
    clients.close();
  }

  function ready(): Ready {
    return { identity: state.identity, end: log.end, retentions: log.retentions(), setAside: log.setAside };
  }

  clients.addFirst(port, ready());
}

/** Waiting messages are worked between two immediates. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function tell(told: Told): void {
  port.postMessage(told);
}
