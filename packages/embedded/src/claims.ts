/** The Claims port over the store thread. Claims of one turn are one transaction with all else that came in it. */
import type { Claims } from '@millrace/gateway/ports/claims';
import type { StoreThread } from './thread.ts';

export function createClaims({ ask }: Pick<StoreThread, 'ask'>): Claims {
  return {
    claim: (claims) => ask('claim', claims),
    async settle(outcomes) {
      await ask('settleClaims', outcomes);
    },
    async prune() {
      await ask('pruneClaims', null);
    },
  };
}
