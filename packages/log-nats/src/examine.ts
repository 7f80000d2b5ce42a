/** Gathers what findings.ts speaks of. */
import type { StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Finding, Demands } from '@millrace/gateway/ports/finding';
import { findingsOf, REPLICAS_SAFE } from './findings.ts';
import type { Stream } from './stream.ts';
import type { Subjects } from './subjects.ts';
import { syncOf } from './sync.ts';

interface Needs {
  readonly nc: NatsConnection;
  readonly stream: Stream;
  readonly subjects: Subjects;
}

export async function examine({ nc, stream, subjects }: Needs, wanted: Demands): Promise<readonly Finding[]> {
  const info = await stream.info();
  const { config, state } = info;
  const matters = config.storage === 'file' && config.num_replicas < REPLICAS_SAFE;
  return findingsOf({
    config,
    state,
    version: nc.info?.version ?? '0',
    isCluster: nc.info?.cluster !== undefined,
    mayChange: stream.mayChange,
    sync: matters ? await syncOf(nc, serversOf(info)) : { kind: 'unknown' },
    wanted,
    subjectOf: subjects.subjectOf,
  });
}

function serversOf({ cluster }: StreamInfo): readonly string[] {
  return [cluster?.leader, ...(cluster?.replicas ?? []).map(({ name }) => name)].filter((name) => name !== undefined);
}
