/**
 * The store thread. It works off everything that has arrived as one group: writes in one transaction, answers for all,
 * then the reads; then whatever has arrived meanwhile. There is no timer: under load groups grow, alone each is one call.
 */
import { join } from 'node:path';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Transferable } from 'node:worker_threads';
import { openClaimsStore } from './claims-store.ts';
import type { ClaimsStore } from './claims-store.ts';
import { openDirectoryStore } from './directory-store.ts';
import type { DirectoryStore } from './directory-store.ts';
import { isStorageError, problemOf } from './faults.ts';
import { answer, commitGroup, refusal } from './group.ts';
import { openLedgerStore } from './ledger-store.ts';
import type { LedgerStore } from './ledger-store.ts';
import { lockDirectory } from './lock.ts';
import { makeDirectory } from './make-directory.ts';
import { openLogStore } from './log-store.ts';
import type { LogStore } from './log-store.ts';
import type { Answer, CallName, Calls, PackedPage, Question, Setup, Told } from '../messages.ts';
import type { RecordPack } from '../packing.ts';
import { isWrite, partOf } from '../parts.ts';
import { keepAllPrivate } from './private-file.ts';
import { openState } from './state.ts';
import type { State } from './state.ts';
import { openWriteBack } from './write-back.ts';

const port = parentPort!;

const setup = workerData as Setup;
try {
  serve(open(setup));
} catch (error) {
  const { code, message, advice } = problemOf(error, { directory: setup.directory, part: 'log' });
  tell({ refused: { code, message, advice } });
}

/** What is answered at once. */
type PlainCall = Exclude<CallName, 'trim' | 'close'>;
type PlainCalls = { readonly [Name in PlainCall]: (value: Calls[Name][0], nowMs: number) => Calls[Name][1] };

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
    const log = openLogStore(state, { ...options, turn, took: (removedThrough) => tell({ removedThrough }) });
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
    append: log.append,
    declareTopic: log.declareTopic,
    read: log.read,
    fetch: log.fetch,
    positionAt: log.positionAt,
    bounds: (_, nowMs) => log.bounds(nowMs),
  };

  function apply({ call, value, nowMs }: Question): unknown {
    return calls[call as PlainCall](value as never, nowMs);
  }

  function work(questions: readonly Question[]): void {
    for (const { call, value } of questions) if (call === 'append') log.learn(value as Calls['append'][0]);
    const writes = questions.filter(({ call }) => isWrite(call));
    if (writes.length > 0) {
      tellAnswers(commitGroup(writes, context));
      writeBack.look();
    }
    rotate(questions.at(-1)!.nowMs);
    ledger.purgeQuietly();
    for (const question of questions) if (!isWrite(question.call)) workRead(question);
  }

  function workRead(question: Question): void {
    if (question.call === 'trim') void trim(question);
    else if (question.call === 'close') void close(question);
    else tellAnswers([tried(question)]);
  }

  function tried(question: Question): Answer {
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

  async function trim(question: Question): Promise<void> {
    try {
      await log.trim(question.nowMs);
      await ledger.purge();
      tellAnswers([{ number: question.number, value: null }]);
    } catch (error) {
      tellAnswers([refusal(question, problemOf(error, { directory, part: 'log' }))]);
    }
  }

  async function close({ number }: Question): Promise<void> {
    await log.close();
    await ledger.close();
    await writeBack.close();
    try {
      state.close();
    } finally {
      unlock();
    }
    tellAnswers([{ number, value: null }]);
    port.close();
  }

  const retentions = log.retentions();
  tell({ ready: { identity: state.identity, end: log.end, retentions, setAside: log.setAside } });
  port.on('message', (first: Question) => work([first, ...arrived()]));
}

/** Waiting messages are worked between two immediates. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function arrived(): Question[] {
  const questions: Question[] = [];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    questions.push(next.message as Question);
  return questions;
}

function tell(told: Told, transfer: Transferable[] = []): void {
  port.postMessage(told, transfer);
}

function tellAnswers(answers: readonly Answer[]): void {
  tell({ answers }, answers.flatMap(buffersIn));
}

/** Records go over without a copy. */
function buffersIn(given: Answer): Transferable[] {
  if (!('value' in given) || given.value === null || typeof given.value !== 'object') return [];
  const { records, buffer } = given.value as Partial<PackedPage> & Partial<RecordPack>;
  const own = records?.buffer ?? buffer;
  return own === undefined ? [] : [own];
}
