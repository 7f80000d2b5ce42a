/** As much of `cloudflare:workers` as worker.ts uses; in a project of yours `wrangler types` writes all of it. */
declare module 'cloudflare:workers' {
  import type { DurableStorage } from '../../sdk/js/millrace.ts';

  export interface DurableObjectState {
    readonly storage: DurableStorage;
  }

  export interface DurableObjectNamespace<Stub> {
    idFromName(name: string): object;
    get(id: object): Stub;
  }

  export class DurableObject {
    readonly ctx: DurableObjectState;
    constructor(state: DurableObjectState, env: unknown);
  }
}
