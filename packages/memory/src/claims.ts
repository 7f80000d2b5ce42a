/** Claims in memory: for logs that leave idempotency keys to the gateway, and forgotten at exit as all here. */
import type { Claim, Claimed, Claims, Use } from '@millrace/gateway/ports/claims';

interface Row extends Pick<Claim, 'digest' | 'token' | 'place'> {
  readonly sinceMs: number;
  readonly takenMs: number;
  readonly untilMs: number;
  readonly use?: Use;
}

export function createMemoryClaims({ now = Date.now }: { readonly now?: () => number } = {}): Claims {
  const rows = new Map<string, Row>();

  function claimOne({ id, digest, windowMs, token, place, over }: Claim): Claimed {
    const nowMs = now();
    const row = rows.get(id);
    const isOver = row?.use === undefined && row?.token === over?.token;
    if (row !== undefined && row.untilMs > nowMs && !isOver) return answerOf(row, token);
    const since = { sinceMs: nowMs - (over?.ageMs ?? 0), takenMs: nowMs, untilMs: nowMs + windowMs };
    rows.set(id, { digest, token, place, ...since });
    return { status: 'claimed' };
  }

  function answerOf({ digest, token, place, sinceMs, takenMs, use }: Row, own: string): Claimed {
    if (use !== undefined) return { status: 'settled', digest, use };
    if (token === own) return { status: 'claimed' };
    return { status: 'open', digest, token, place, ageMs: now() - sinceMs, heldMs: now() - takenMs };
  }

  return {
    claim: async (claims) => claims.map(claimOne),
    async settle(outcomes) {
      for (const { id, token, use } of outcomes) {
        const row = rows.get(id);
        if (row?.token !== token || row.use !== undefined) continue;
        if (use === undefined) rows.delete(id);
        else rows.set(id, { ...row, use });
      }
    },
    async prune() {
      for (const [id, { untilMs }] of rows) if (untilMs <= now()) rows.delete(id);
    },
  };
}
