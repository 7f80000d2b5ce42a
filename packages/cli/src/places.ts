/** Cursors of lists that the command puts together itself: the API knows lists of one subscription only. */
import { misused } from './refusal.ts';

const PREFIX = 'all_';

/** Of text and null; short enough to be pasted. */
export type Place = readonly (string | null)[];

export function cursorOf(place: Place): string {
  return PREFIX + Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** Throws for what no list over all subscriptions ended with. */
export function placeIn(cursor: string, parts: number): Place {
  const place = cursor.startsWith(PREFIX) ? parsed(cursor.slice(PREFIX.length)) : undefined;
  const isPlace = Array.isArray(place) && place.length === parts && place.every((one) => one === null || typeof one === 'string');
  if (!isPlace)
    throw misused('this --cursor is not one of the list over all subscriptions', 'Name the same --subscription as before.');
  return place as Place;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    return undefined; // it is said by who asked
  }
}
