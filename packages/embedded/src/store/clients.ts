/**
 * Who asks the store thread: the thread that started it and, where several work with it, each over a port of its own. What has
 * arrived from all of them is one group. What one of them wrote all others are told, in the order in which it was written.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Transferable } from 'node:worker_threads';
import type { TopicRetention } from '@millrace/gateway/ports/log';
import type { Answer, Calls, Heard, PackedPage, Question, Ready, StoredResource, Told } from '../messages.ts';
import type { AppendAnswer, AppendBatch, RecordPack } from '../packing.ts';
import { packRecords, unpackBatch } from '../packing.ts';
import type { LogStore } from './log-store.ts';
import type { NameRefs } from './name-refs.ts';

/**
 * What others appended and a thread that is busy has not taken in: past it that thread is told how far the log goes and reads
 * from there when it has time. As much as it would keep in memory of it.
 */
const UNHEARD_BYTES_MAX = 16 * 1024 * 1024;

export interface Client {
  readonly number: number;
  readonly refs: NameRefs;
  answer(answers: readonly Answer[]): void;
}

export interface Asked extends Question {
  readonly client: Client;
}

export interface Clients {
  /** Who started the thread. It is told nothing of what others do: it does not work with them, it started them. */
  addFirst(port: MessagePort, ready: Ready): void;
  add(port: MessagePort, ready: Ready): void;
  /** Answers what was written, one answer per question, and tells the others. */
  tellWritten(questions: readonly Asked[], answers: readonly Answer[]): void;
  tellAll(removedThrough: number): void;
  close(): void;
}

interface Connected extends Client {
  readonly port: MessagePort;
  /** Bytes on their way; undefined where nothing is told. */
  readonly unheard: Int32Array | undefined;
}

interface Needs {
  readonly log: Pick<LogStore, 'openRefs' | 'closeRefs'>;
  work(questions: readonly Asked[]): void;
  readonly onGone: (client: Client) => void;
}

export function createClients({ log, work, onGone }: Needs): Clients {
  const all = new Set<Connected>();
  let numbers = 0;

  function connect(port: MessagePort, unheard: Int32Array | undefined): Connected {
    const client: Connected = {
      number: ++numbers,
      refs: log.openRefs(),
      port,
      unheard,
      answer: (answers) => port.postMessage({ answers } satisfies Told, answers.flatMap(buffersIn)),
    };
    all.add(client);
    port.on('message', (first: Question) => work([{ ...first, client }, ...arrived()]));
    port.on('close', () => {
      if (!all.delete(client)) return;
      log.closeRefs(client.refs);
      onGone(client);
    });
    return client;
  }

  function arrived(): Asked[] {
    const questions: Asked[] = [];
    for (const client of all)
      for (let next = receiveMessageOnPort(client.port); next !== undefined; next = receiveMessageOnPort(client.port))
        questions.push({ ...(next.message as Question), client });
    return questions;
  }

  /** In the order of the questions, each run of its own answers, and of what it hears, as one message. */
  function tellEach(to: Connected, questions: readonly Asked[], written: readonly Written[]): void {
    let answers: Answer[] = [];
    let heard: Heard[] = [];
    const flush = (): void => {
      if (answers.length > 0) to.port.postMessage({ answers, held: true } satisfies Told);
      if (heard.length > 0) to.port.postMessage({ heard } satisfies Told);
      [answers, heard] = [[], []];
    };
    for (const [at, { answer, news }] of written.entries()) {
      const isOwn = questions[at]!.client === to;
      if (isOwn ? heard.length > 0 : answers.length > 0 && news !== undefined) flush();
      if (isOwn) answers.push(answer);
      else if (news !== undefined && to.unheard !== undefined) heard.push(withinBound(news, to.unheard));
    }
    flush();
  }

  return {
    addFirst(port, ready) {
      connect(port, undefined).port.postMessage({ ready } satisfies Told);
    },
    add(port, ready) {
      const unheard = new SharedArrayBuffer(4);
      connect(port, new Int32Array(unheard)).port.postMessage({ ready, unheard } satisfies Told);
    },
    tellWritten(questions, answers) {
      const [first] = all;
      if (all.size === 1) return first!.answer(answers);
      const written = answers.map((answer, at) => ({ answer, news: newsOf(questions[at]!, answer) }));
      for (const client of all) tellEach(client, questions, written);
      // Whoever is answered may tell the world: by then it is known to all.
      const askers = new Set(questions.map(({ client }) => client));
      for (const client of all) if (askers.has(client)) client.port.postMessage({ release: true } satisfies Told);
    },
    tellAll(removedThrough) {
      for (const { port } of all) port.postMessage({ removedThrough } satisfies Told);
    },
    close() {
      for (const { port } of all) port.close();
    },
  };
}

interface Written {
  readonly answer: Answer;
  /** What others hear of it. */
  readonly news: News | undefined;
}

type News = Heard & { readonly end?: number };

function newsOf({ call, value, client }: Asked, answer: Answer): News | undefined {
  if (!('value' in answer)) return undefined;
  if (call === 'append') return appendedOf(value as AppendBatch, answer.value as AppendAnswer, client.refs);
  if (call === 'declareTopic') return { declared: value as TopicRetention };
  if (call !== 'putResource' && call !== 'deleteResource') return undefined;
  const { kind, environment, id } = value as Calls['deleteResource'][0];
  if (call === 'putResource') return { changed: { kind, environment, id, now: answer.value as StoredResource } };
  return answer.value === true ? { changed: { kind, environment, id } } : undefined;
}

function appendedOf(batch: AppendBatch, { first, timeMs, others }: AppendAnswer, refs: NameRefs): News | undefined {
  const settled = new Set(others.map(([at]) => at));
  let offset = first;
  const records = [...unpackBatch(batch)].flatMap(({ topic, app, bytes }, at) =>
    settled.has(at)
      ? []
      : [{ offset: offset++, timeMs, environment: refs.topic(topic).environment, app: refs.app(app).app, bytes }],
  );
  if (records.length === 0) return undefined;
  const appended = packRecords(records);
  return { appended, bytes: appended.buffer.byteLength, end: offset - 1 };
}

/** Each gets a copy: what is transferred can be transferred once. */
function withinBound({ end = 0, ...news }: News, unheard: Int32Array): Heard {
  if (!('appended' in news)) return news;
  const onTheWay = Atomics.load(unheard, 0);
  if (onTheWay > 0 && onTheWay + news.bytes > UNHEARD_BYTES_MAX) return { skippedTo: end };
  Atomics.add(unheard, 0, news.bytes);
  return news;
}

/** Records go over without a copy. */
function buffersIn(given: Answer): Transferable[] {
  if (!('value' in given) || given.value === null || typeof given.value !== 'object') return [];
  const { records, buffer } = given.value as Partial<PackedPage> & Partial<RecordPack>;
  const own = records?.buffer ?? buffer;
  return own === undefined ? [] : [own];
}
