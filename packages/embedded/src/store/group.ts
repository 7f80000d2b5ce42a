/**
 * Group commit: everything that arrived together is one transaction. One with a change of the directory survives a power loss
 * in either mode: what is configured is rare, and others act on it, such as who throws a former secret key away once nothing
 * is sealed with it. Commits stand in one log: with it all that came before are safe, too.
 */
import { Problem } from '@millrace/core/problem';
import { problemOf } from './faults.ts';
import type { Answer, Question } from '../messages.ts';
import { isConfiguration, partOf } from '../parts.ts';
import type { State } from './state.ts';

export interface GroupContext<Asked extends Question> {
  readonly state: State;
  apply(question: Asked): unknown;
  /** Begins a transaction; what is returned undoes in memory what a rollback undoes on disk. */
  mark(): () => void;
}

/** Applies all in order, durably, and answers each, in the same order. What fails alone fails alone. Throws only what is a bug. */
export function commitGroup<Asked extends Question>(questions: readonly Asked[], context: GroupContext<Asked>): Answer[] {
  try {
    return commitTogether(questions, context);
  } catch (error) {
    if (questions.length > 1) return questions.flatMap((question) => commitGroup([question], context));
    const [question] = questions;
    return [refusal(question!, problemOf(error, { directory: context.state.directory, part: partOf(question!.call) }))];
  }
}

function commitTogether<Asked extends Question>(
  questions: readonly Asked[],
  { state, apply, mark }: GroupContext<Asked>,
): Answer[] {
  const undo = mark();
  try {
    const commit = questions.some(({ call }) => isConfiguration(call)) ? state.durably : state.transaction;
    return commit(() => questions.map((question) => answer(question, apply)));
  } catch (error) {
    undo();
    throw error;
  }
}

/** A Problem is thrown before anything was written: the others of the group stay. */
export function answer<Asked extends Question>(question: Asked, apply: (question: Asked) => unknown): Answer {
  try {
    return { number: question.number, value: apply(question) };
  } catch (error) {
    if (error instanceof Problem) return refusal(question, error);
    throw error;
  }
}

export function refusal({ number }: Question, { code, message, advice }: Problem): Answer {
  return { number, problem: { code, message, advice } };
}
