/** The gateway as `millrace start` runs it, less its screen, in a process of its own. Argument: a GatewaySetup as JSON. */
import { openEmbedded } from '@millrace/embedded';
import { start } from '@millrace/gateway/start';
import { answerQuestions } from './questions.ts';

export interface GatewaySetup {
  readonly data: string;
  readonly durability: 'fsync' | 'relaxed';
}

export interface GatewayStarted {
  readonly address: string;
  readonly key: string;
}

const { data, durability } = JSON.parse(process.argv[2] ?? '{}') as GatewaySetup;

const running = await start({
  options: {
    mode: 'start',
    host: '127.0.0.1',
    port: 0,
    portChosen: true,
    data,
    durability,
    json: true,
    sample: false,
    strictTopics: false,
    allowEgress: [],
    limits: {},
    metrics: 'loopback',
  },
  version: '0',
  openStore: ({ onFailure }) => openEmbedded({ directory: data, durability, onFailure }),
  onNotice: () => undefined,
  onDeclared: () => undefined,
  onError: (error) => console.error(error),
  onFailure(error) {
    console.error(error);
    process.exit(1);
  },
});

answerQuestions();
process.on('disconnect', () => void running.stop().then(() => process.exit()));
process.send?.({ address: running.address, key: running.key ?? '' } satisfies GatewayStarted);
