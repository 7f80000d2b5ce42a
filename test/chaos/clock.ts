/**
 * Loaded into the gateway before anything else (NODE_OPTIONS=--import): its wall clock goes wrong by as many ms as the file
 * in CHAOS_CLOCK says. The file is read at the start and at each SIGUSR2, which a line of NDJSON confirms. The gateway
 * reads wall time by `Date.now` alone; its monotonic clock, its timers and the machine's clock stay as they are.
 */
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env['CHAOS_CLOCK'] ?? '';
const rightNow = Date.now;
let offsetMs = 0;

function read(): void {
  offsetMs = Number(readFileSync(file, 'utf8'));
}

read();
Date.now = () => rightNow() + offsetMs;
// A worker gets no signals; the store's is told the time by the main thread.
if (isMainThread)
  process.on('SIGUSR2', () => {
    read();
    process.stdout.write(`${JSON.stringify({ kind: 'clock_set', offsetMs })}\n`);
  });
