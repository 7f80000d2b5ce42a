/** Topics and apps by number. Numbers are given out within the transaction that first uses them. */
import type { DatabaseSync } from 'node:sqlite';
import { Problem } from '@millrace/core/problem';
import { DEFAULT_RETENTION_MS, nameOf } from '../messages.ts';

export interface Topic {
  readonly id: number;
  readonly environment: string;
  readonly topic: string;
  retentionMs: number;
}

export interface App {
  readonly id: number;
  readonly environment: string;
  readonly app: string;
}

export interface Names {
  topicOf(environment: string, topic: string): Topic;
  appOf(environment: string, app: string): App;
  topic(id: number): Topic;
  app(id: number): App;
  topics(): Iterable<Topic>;
  /** Grows with every new topic. */
  readonly topicCount: number;
  declare(environment: string, topic: string, retentionMs: number): void;
  /** After a rollback: forgets what the transaction had added. */
  reload(): void;
}

export function loadNames(db: DatabaseSync): Names {
  const readTopics = db.prepare('SELECT id, environment, topic, retention_ms FROM topics');
  const readApps = db.prepare('SELECT id, environment, app FROM apps');
  const addTopic = db.prepare('INSERT INTO topics (environment, topic) VALUES (?, ?)');
  const addApp = db.prepare('INSERT INTO apps (environment, app) VALUES (?, ?)');
  const setRetention = db.prepare('UPDATE topics SET retention_ms = ? WHERE id = ?');
  const topics = new Map<number, Topic>();
  const topicsByName = new Map<string, Topic>();
  const apps = new Map<number, App>();
  const appsByName = new Map<string, App>();

  function holdTopic(topic: Topic): Topic {
    topics.set(topic.id, topic);
    topicsByName.set(nameOf(topic.environment, topic.topic), topic);
    return topic;
  }

  function holdApp(app: App): App {
    apps.set(app.id, app);
    appsByName.set(nameOf(app.environment, app.app), app);
    return app;
  }

  function topicOf(environment: string, topic: string): Topic {
    const known = topicsByName.get(nameOf(environment, topic));
    if (known !== undefined) return known;
    const id = Number(addTopic.run(environment, topic).lastInsertRowid);
    return holdTopic({ id, environment, topic, retentionMs: DEFAULT_RETENTION_MS });
  }

  function reload(): void {
    for (const known of [topics, topicsByName, apps, appsByName]) known.clear();
    for (const { id, environment, topic, retention_ms } of readTopics.all()) {
      holdTopic({
        id: Number(id),
        environment: String(environment),
        topic: String(topic),
        retentionMs: Number(retention_ms ?? DEFAULT_RETENTION_MS),
      });
    }
    for (const { id, environment, app } of readApps.all())
      holdApp({ id: Number(id), environment: String(environment), app: String(app) });
  }

  reload();
  return {
    topicOf,
    appOf(environment, app) {
      const known = appsByName.get(nameOf(environment, app));
      return known ?? holdApp({ id: Number(addApp.run(environment, app).lastInsertRowid), environment, app });
    },
    topic: (id) => topics.get(id) ?? unknown('topic', id),
    app: (id) => apps.get(id) ?? unknown('app', id),
    topics: () => topics.values(),
    get topicCount() {
      return topics.size;
    },
    declare(environment, topic, retentionMs) {
      const known = topicOf(environment, topic);
      setRetention.run(retentionMs, known.id);
      known.retentionMs = retentionMs;
    },
    reload,
  };
}

/** A flipped bit in a row must not end the thread for everybody: who reads there is told. */
function unknown(what: string, id: number): never {
  throw new Problem('log_unavailable', `An event names the ${what} ${id}, which there is not: its file is damaged`);
}
