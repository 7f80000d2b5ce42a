/** One worker: a gateway that is a node, in a thread of its own. What concerns the process it asks the main thread. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { explained } from '../data-refusals.ts';
import { type OpenStore, type Running, start } from '../start.ts';
import type { FromWorker, Setup, ToWorker } from './messages.ts';
import { createOutbox } from './outbox.ts';
import { said } from './said.ts';

export async function runWorker(openStore: OpenStore): Promise<void> {
  const port = ownPort();
  const { number, options, version, prepared, shared } = workerData as Setup;
  const asked = new Map<number, (answer: unknown) => void>();
  const outbox = createOutbox((notices, unprinted) => tell({ notices, unprinted }));
  let numbers = 0;
  let running: Running | undefined;
  const starting = Promise.withResolvers<void>();

  function tell(message: FromWorker): void {
    port.postMessage(message);
  }

  function ask<Answer>(question: (number: number) => FromWorker): Promise<Answer> {
    return new Promise((resolve) => {
      const at = ++numbers;
      asked.set(at, (answer) => resolve(answer as Answer));
      tell(question(at));
    });
  }

  function answered(at: number, answer: unknown): void {
    asked.get(at)?.(answer);
    asked.delete(at);
  }

  async function stop(): Promise<void> {
    try {
      await starting.promise;
      await running?.stop();
      tell({ stopped: true });
    } catch (error) {
      tell({ failure: said(error) });
    }
  }

  port.on('message', (message: ToWorker) => {
    if ('stop' in message) void stop();
    else if ('noticed' in message) outbox.taken();
    else if ('began' in message) answered(message.number, message.began);
    else if ('text' in message) answered(message.number, message.text);
    else void running?.samples().then((samples) => tell({ samples, number: message.sample }));
  });

  try {
    running = await start({
      options,
      version,
      openStore,
      onNotice: (notice) => outbox.add(notice),
      onDeclared: (topic, owner) => tell({ declared: { topic, owner } }),
      onError: (error) => tell({ unexpected: said(error).message }),
      onFailure: (error) => tell({ failure: said(error) }),
      worker: {
        number,
        prepared,
        ...(shared === undefined ? {} : { shared }),
        metricsText: () => ask((at) => ({ metrics: at })),
        underWay: {
          begin: (id) => ask((at) => ({ begin: id, number: at })),
          end: (id) => tell({ end: id }),
        },
      },
    });
    tell({ ready: true });
  } catch (error) {
    tell({ refused: said(explained(error, options.data)) });
  } finally {
    starting.resolve();
  }
}

function ownPort(): MessagePort {
  if (parentPort === null) throw new TypeError('a worker is a thread of its own');
  return parentPort;
}
