/** Names of topics and apps as one sender of batches numbers them: in the order in which its batches brought them. */
import type { AppendBatch, NamePair } from '../packing.ts';
import type { App, Names, Topic } from './names.ts';

export interface NameRefs {
  /** Once per batch, when it arrives: the names it brings. */
  learn(batch: AppendBatch): void;
  topic(ref: number): Topic;
  app(ref: number): App;
  /** After a rollback: what was made then is not there. */
  reload(): void;
}

export function createNameRefs(names: Pick<Names, 'topicOf' | 'appOf'>): NameRefs {
  const topicNames: NamePair[] = [];
  const appNames: NamePair[] = [];
  let topics: Topic[] = [];
  let apps: App[] = [];

  return {
    learn(batch) {
      topicNames.push(...batch.topics);
      appNames.push(...batch.apps);
    },
    topic: (ref) => (topics[ref] ??= names.topicOf(...topicNames[ref]!)),
    app: (ref) => (apps[ref] ??= names.appOf(...appNames[ref]!)),
    reload() {
      topics = [];
      apps = [];
    },
  };
}
