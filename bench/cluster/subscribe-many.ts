/** Many subscriptions, made at the nodes in turn. */
import type { Cluster } from './nodes.ts';

const AT_ONCE = 64;

export async function subscribeMany(cluster: Cluster, count: number, specOf: (n: number) => object): Promise<void> {
  let next = 0;
  const creator = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      const node = cluster.nodes[n % cluster.nodes.length]!;
      await cluster.ask(node, `PUT /v1/subscriptions/many-${n}`, specOf(n));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, creator));
}
