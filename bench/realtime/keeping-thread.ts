/**
 * The thread of a raw limit that keeps what it sends on. What has arrived by now is one group, as in the store thread: written to a file, synced
 * where that is asked for, and handed back.
 */
import { fdatasyncSync, openSync, writevSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Keeping } from './hub-process.ts';

type Body = Uint8Array<ArrayBuffer>;

const { file: path, durability } = workerData as Keeping;
const file = openSync(path, 'a');
const port = parentPort!;

port.on('message', (first: Body) => {
  const group = [first];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    group.push(next.message as Body);
  writevSync(file, group);
  if (durability === 'fsync') fdatasyncSync(file);
  for (const body of group) port.postMessage(body, [body.buffer]);
});
