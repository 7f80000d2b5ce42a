/** Why there is no start: said to a person as it is. */
export class StartRefused extends Error {
  readonly advice: string;

  constructor(message: string, advice: string) {
    super(message);
    this.name = 'StartRefused';
    this.advice = advice;
  }
}
