/** What a verb has around it: streams, environment, working directory, Ctrl-C. Passed in, so that tests run verbs without a process. */

export interface Out {
  /** False where whoever reads is slow: `drained` then says when to go on. */
  write(text: string): boolean;
  drained(): Promise<void>;
  readonly isTTY: boolean;
  /** Characters of a line; undefined where it is no terminal. */
  readonly columns: number | undefined;
}

export interface World {
  readonly stdout: Out;
  readonly stderr: Out;
  readonly stdin: AsyncIterable<Uint8Array> & { readonly isTTY: boolean };
  readonly environment: NodeJS.ProcessEnv;
  /** Working directory. */
  readonly directory: string;
  /** From the call on, Ctrl-C aborts this instead of ending the process; a second one ends it. */
  interrupted(): AbortSignal;
  /** Asks a person for a line. Undefined where nobody answers. */
  question(text: string): Promise<string | undefined>;
}
