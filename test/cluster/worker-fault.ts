/**
 * Loaded before everything else into a process under test, and into each of its threads (NODE_OPTIONS=--import): SIGUSR2 is an
 * error that nobody expected in one worker, the first, then the second, and so on around.
 */
import { BroadcastChannel, isMainThread, threadName } from 'node:worker_threads';

const PREFIX = 'millrace-worker-';
const WORKERS = Number(process.env['TEST_WORKERS'] ?? 1);

const faults = new BroadcastChannel('fault');
faults.unref();
let next = 0;
if (isMainThread) process.on('SIGUSR2', () => faults.postMessage(`${PREFIX}${(next++ % WORKERS) + 1}`));
else if (threadName?.startsWith(PREFIX) === true)
  faults.addEventListener('message', (event) => {
    if ((event as { readonly data?: unknown }).data === threadName) throw new Error('a fault that a test has made');
  });
