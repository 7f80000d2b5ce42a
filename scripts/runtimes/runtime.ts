/** What `npm run runtimes` and the tests know of a program that runs the SDK: where it is, and how it is got. */
export interface Runtime {
  /** 'chromium', 'deno' */
  readonly name: string;
  /** Where its program is, if it is here. */
  find(cache: string): string | undefined;
  /** Gets it; throws RuntimeUnavailable with advice where it can't be had. */
  fetch(cache: string): Promise<void>;
}

/** This machine can't have it now; the advice says what to do about it. */
export class RuntimeUnavailable extends Error {
  readonly advice: string;

  constructor(message: string, advice: string) {
    super(message);
    this.name = 'RuntimeUnavailable';
    this.advice = advice;
  }
}
