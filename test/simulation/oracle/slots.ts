/** The slot of a subscription, as design.md, section 2 says it: one of 128 hash buckets. */
import { hashText } from '../random.ts';

export const SLOTS = 128;

export function slotOf(uid: string): number {
  return hashText(uid) % SLOTS;
}
