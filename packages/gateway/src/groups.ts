/** Stream subscriptions for those who consume them: to join one, and to know that what was acked is written down. */
import { Problem } from '@millrace/core/problem';
import type { Groups } from './api.ts';
import type { Recorder } from './flow/record.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { LookUp } from './look-up.ts';
import type { Clock } from './ports/clock.ts';
import type { Ledger } from './ports/ledger.ts';

interface Needs {
  readonly lookUp: LookUp;
  readonly lanes: Pick<Lanes, 'subscribers'>;
  readonly recorder: Recorder;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

export function createGroups({ lookUp, lanes, recorder, ledger, clock }: Needs): Groups {
  return {
    join(environment, id, consumer) {
      const { group } = lookUp(environment, id);
      if (group === undefined)
        throw new Problem('conflict', `the subscription '${id}' delivers to a webhook: nobody can consume it over a connection`, {
          advice: 'Create another one with "deliver": {"stream": {}}.',
        });
      return group.join(consumer);
    },
    async settled() {
      // The lane hands the recorder what was settled just now in the turns of the microtask queue that follow.
      await new Promise<void>((resolve) => clock.after(0, resolve));
      await recorder.settled();
    },
    async isDelivered({ lane, shard, position }) {
      return (await ledger.attemptsOf(lane, shard, position)).at(-1)?.outcome === 'delivered';
    },
    giveBack() {
      for (const { group } of lanes.subscribers()) group?.leave();
    },
  };
}
