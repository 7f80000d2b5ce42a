import type { AttributeValue } from './event.ts';

/** An event as a publisher hands it in: id, source and time are filled in by the gateway where missing. */
export interface EventDraft {
  readonly type: string;
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly time?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  readonly extensions?: Readonly<Record<string, AttributeValue>>;
  /** The payload, byte for byte. Absent is not the same as empty. */
  readonly data?: Uint8Array;
}
