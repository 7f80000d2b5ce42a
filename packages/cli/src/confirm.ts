/** Asks before something that can not be taken back, where a person can answer. */
import type { Call } from './cli.ts';
import { EXIT } from './exit-codes.ts';
import { Refusal } from './refusal.ts';

/** Rejects where the person does not want it. Scripts have no terminal and are not asked; `--yes` answers for everybody. */
export async function confirm(
  { options, world }: Pick<Call<readonly unknown[], { readonly yes?: boolean }>, 'options' | 'world'>,
  question: string,
): Promise<void> {
  if (options.yes === true || !world.stdin.isTTY) return;
  const answer = await world.question(`${question} [y/N] `);
  if (answer === undefined || !/^y(es)?$/i.test(answer.trim()))
    throw new Refusal(EXIT.interrupted, 'nothing was changed', { advice: '--yes does it without asking.' });
}
