/** What crosses between the main thread and a worker. All of it survives a structured clone. */
import type { MessagePort } from 'node:worker_threads';
import type { Notice } from '../api.ts';
import type { Samples } from '../metrics.ts';
import type { StartOptions } from '../options.ts';
import type { Prepared } from '../start.ts';

/** `workerData`. */
export interface Setup {
  readonly number: number;
  readonly options: StartOptions;
  readonly version: string;
  readonly prepared: Prepared;
  readonly shared?: MessagePort;
}

/** An error as a person is told it; classes do not cross. */
export interface Said {
  readonly kind: 'problem' | 'refused' | 'error';
  readonly code?: string;
  readonly message: string;
  readonly advice?: string;
}

export type FromWorker =
  | { readonly ready: true }
  /** It can not start. */
  | { readonly refused: Said }
  /** `unprinted`: so many notices of deliveries more, for which there was no room. */
  | { readonly notices: readonly Notice[]; readonly unprinted: number }
  | { readonly declared: { readonly topic: string; readonly owner: string } }
  | { readonly unexpected: string }
  /** What all workers stand on is gone. */
  | { readonly failure: Said }
  | { readonly begin: string; readonly number: number }
  | { readonly end: string }
  | { readonly metrics: number }
  | { readonly samples: Samples; readonly number: number }
  | { readonly stopped: true };

export type ToWorker =
  | { readonly stop: true }
  /** Notices were taken: further ones may come. */
  | { readonly noticed: true }
  | { readonly began: boolean; readonly number: number }
  | { readonly sample: number }
  | { readonly text: string; readonly number: number };
