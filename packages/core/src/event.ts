/**
 * The Event: a CloudEvents 1.0 event whose payload stays the bytes that were sent.
 * Source: CloudEvents 1.0.2, sections "Context Attributes" and "Event Data".
 */

/** A CloudEvents attribute value as the JSON format carries it. */
export type AttributeValue = string | number | boolean;

export interface Event {
  /** Unique together with `source`. */
  readonly id: string;
  readonly source: string;
  /** The topic: dot-separated tokens, `orders.created`. */
  readonly type: string;
  readonly subject?: string;
  /** RFC 3339, as the publisher wrote it. */
  readonly time?: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  /** Extension attributes by name (lower-case letters and digits): `partitionkey`, `audience`, `traceparent`, … */
  readonly extensions: Readonly<Record<string, AttributeValue>>;
  /** The payload, byte for byte. Absent is not the same as empty. */
  readonly data?: Uint8Array;
}

/** The event's key for order: its `partitionkey`, else undefined (such events are not ordered). */
export function keyOf(event: Event): string | undefined {
  const key = event.extensions['partitionkey'];
  return typeof key === 'string' && key !== '' ? key : undefined;
}

/** The one app that may see the event, else undefined (all may). */
export function audienceOf(event: Event): string | undefined {
  const audience = event.extensions['audience'];
  return typeof audience === 'string' && audience !== '' ? audience : undefined;
}

/** True where the payload is declared to be JSON: `application/json`, `text/json`, any `+json`, or no content type at all. */
export function hasJsonData(event: Event): boolean {
  const type = event.datacontenttype;
  return type === undefined || /^[^;]*[/+]json\s*(;|$)/i.test(type);
}
