/** Every server there is. A new one is a file of its own and a line here. */
import type { Broker } from './broker.ts';
import { nats } from './nats.ts';
import { postgres } from './postgres.ts';

export const BROKERS: readonly Broker[] = [nats, postgres];
