/** Asks before something that can not be taken back, where a person can answer. */
import type { Call } from './cli.ts';
import { EXIT } from './exit-codes.ts';
import { Refusal } from './refusal.ts';

/** Rejects where the person does not want it, and where nobody can be asked. `--yes` answers for everybody. */
export async function confirm(
  { options, world }: Pick<Call<readonly unknown[], { readonly yes?: boolean }>, 'options' | 'world'>,
  question: string,
): Promise<void> {
  if (options.yes === true) return;
  if (!world.stdin.isTTY)
    throw new Refusal(EXIT.usage, 'this can not be taken back, and there is no terminal to ask at', {
      advice: '--yes does it without asking.',
    });
  const answer = await world.question(`${question} [y/N] `);
  if (answer === undefined || !/^y(es)?$/i.test(answer.trim()))
    throw new Refusal(EXIT.interrupted, 'nothing was changed', { advice: '--yes does it without asking.' });
}
