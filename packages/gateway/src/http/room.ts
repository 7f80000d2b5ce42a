/** The room for bodies and for answers, of all requests together: each is bounded by itself, and many at once would still fill the memory. */
import { Problem } from '@millrace/core/problem';

export interface Room {
  hold(): Hold;
}

/** What one request holds of it. */
export interface Hold {
  hasRoomFor(bytes: number): boolean;
  /** Bytes that are there now. False where there is no room: then they are not counted, and must not be kept. */
  add(bytes: number): boolean;
  /** Some are kept no more. */
  remove(bytes: number): void;
  /** None is kept any more. Safe to call twice. */
  end(): void;
}

/**
 * Bytes count when they are there, not when they are announced: who announces much and sends nothing must not shut the door
 * to others. One request alone always finds room, so that no setting refuses for ever what the bound of one body allows.
 */
export function createRoom(mostBytes: number): Room {
  let all = 0;
  return {
    hold() {
      let own = 0;
      let ended = false;
      const hasRoomFor = (bytes: number): boolean => all === own || all + bytes <= mostBytes;
      return {
        hasRoomFor,
        add(bytes) {
          if (ended || !hasRoomFor(bytes)) return false;
          own += bytes;
          all += bytes;
          return true;
        },
        remove(bytes) {
          if (ended) return;
          own -= bytes;
          all -= bytes;
        },
        end() {
          all -= own;
          own = 0;
          ended = true;
        },
      };
    },
  };
}

export const noRoom = (): Problem =>
  new Problem('overloaded', 'the bodies being read together fill the room there is for them', {
    retryAfterMs: 1_000,
    advice: 'Send it again, or in smaller parts.',
  });
