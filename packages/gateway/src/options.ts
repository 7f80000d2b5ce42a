/** What a gateway process is started with, and what it leaves in its data directory for whoever wants to speak to it. */

/** `dev`: on one's own machine; `start`: in production. What follows from it is in the other members. */
export type Mode = 'dev' | 'start';

export interface StartOptions {
  readonly mode: Mode;
  readonly host: string;
  readonly port: number;
  /** The port was asked for: another one will not do. */
  readonly portChosen: boolean;
  readonly data: string;
  /** Where the log is, as an address; without it, embedded in `data`. */
  readonly log?: string;
  /** Where directory and ledger are, as an address: several nodes may share it. Without it, embedded in `data`. */
  readonly store?: string;
  /** Of a node that shares its store: its name, and where the others reach it. */
  readonly node?: string;
  readonly advertise?: string;
  /** Threads that share the port, each a node of its own with the limits of a process. 1, the default: none, the process does it itself. */
  readonly workers?: number;
  /** Where receivers reach the gateway, as it was written. Without it, where it listens, if it does so for this machine alone. */
  readonly publicUrl?: string;
  readonly durability: 'fsync' | 'relaxed';
  readonly json: boolean;
  readonly sample: boolean;
  readonly strictTopics: boolean;
  /** CIDRs and hosts that deliveries may go to although they are not public, as they were written. */
  readonly allowEgress: readonly string[];
  /** Members of `Limits` that were set, by name; names and ranges are checked where limits are. */
  readonly limits: Readonly<Record<string, number>>;
  /** Who may read /metrics. */
  readonly metrics: 'loopback' | 'all';
}

/** Each has a heap of its own, and one machine has no more to share than its cores. */
export const WORKERS_MAX = 64;

export const DEFAULT_PORT = 4400;
export const DEFAULT_DATA = '.millrace';

/** In the data directory: where the gateway listens, or last did; and the admin key of its first start. */
export const ADDRESS_FILE = 'address';
export const ADMIN_KEY_FILE = 'admin-key';
