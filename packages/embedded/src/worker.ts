/**
 * The store thread. It works off everything that has arrived as one group: writes in one transaction, answers for all,
 * then the reads; then whatever has arrived meanwhile. There is no timer: under load groups grow, alone each is one call.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Transferable } from 'node:worker_threads';
import { Problem } from '@millrace/core/problem';
import { openDirectoryStore } from './directory-store.ts';
import { isStorageError, problemOf } from './faults.ts';
import { answer, commitGroup, refusal } from './group.ts';
import { openLedgerStore } from './ledger-store.ts';
import { lockDirectory } from './lock.ts';
import { openLogStore } from './log-store.ts';
import type { Answer, Calls, PackedPage, Question, Setup, Told } from './messages.ts';
import type { RecordPack } from './packing.ts';
import { isWrite, partOf } from './parts.ts';
import { openState } from './state.ts';

const port = parentPort!;

try {
  serve(workerData as Setup);
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  const { code, message, advice } = error;
  tell({ refused: { code, message, advice } });
}

function serve(setup: Setup): void {
  const { directory } = setup;
  mkdirSync(join(directory, 'segments'), { recursive: true, mode: 0o700 });
  const unlock = lockDirectory(directory);
  const { state, log, ledger, resources } = openStores(setup, unlock);
  const context = { state, apply, mark };

  function mark(): () => void {
    const undoLog = log.mark();
    return () => {
      undoLog();
      ledger.reload();
    };
  }

  function apply({ call, value, nowMs }: Question): unknown {
    switch (call) {
      case 'append':
        return log.append(value as Calls['append'][0], nowMs);
      case 'declareTopic':
        return log.declareTopic(value as Calls['declareTopic'][0]);
      case 'read':
        return log.read(value as Calls['read'][0], nowMs);
      case 'fetch':
        return log.fetch(value as number, nowMs);
      case 'positionAt':
        return log.positionAt(value as number);
      case 'bounds':
        return log.bounds(nowMs);
      case 'trim':
      case 'close':
        throw new Error(`${call} is no plain call`);
      case 'getResource':
      case 'listResources':
      case 'putResource':
      case 'deleteResource':
        return resources[call](value as never);
      default:
        return ledger[call](value as never);
    }
  }

  function work(questions: readonly Question[]): void {
    for (const { call, value } of questions) if (call === 'append') log.learn(value as Calls['append'][0]);
    const writes = questions.filter(({ call }) => isWrite(call));
    if (writes.length > 0) tellAnswers(commitGroup(writes, context));
    rotate(questions.at(-1)!.nowMs);
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
      tellAnswers([{ number: question.number, value: null }]);
    } catch (error) {
      tellAnswers([refusal(question, problemOf(error, { directory, part: 'log' }))]);
    }
  }

  async function close({ number }: Question): Promise<void> {
    await log.close();
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

function openStores(setup: Setup, unlock: () => void) {
  try {
    const state = openState(setup.directory, setup);
    const log = openLogStore(state, { ...setup, turn, took: (removedThrough) => tell({ removedThrough }) });
    const ledger = openLedgerStore(state);
    const resources = openDirectoryStore(state);
    state.begin(setup.relaxed);
    return { state, log, ledger, resources };
  } catch (error) {
    unlock();
    throw error instanceof Problem ? error : problemOf(error, { directory: setup.directory, part: 'log' });
  }
}

/** Waiting messages are worked between two immediates. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function arrived(): Question[] {
  const questions: Question[] = [];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) questions.push(next.message as Question);
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
