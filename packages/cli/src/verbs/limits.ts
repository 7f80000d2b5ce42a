/** `millrace limits`: every bound of a gateway process, with its default and its reason. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type Column, tableOf } from '../table.ts';
import { wrapped } from '../text.ts';

interface Row {
  readonly name: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

/** Of a column of sentences. */
const WHY_MIN = 30;

const COLUMNS: readonly Column<Row>[] = [
  { title: 'LIMIT', value: ({ name }) => name },
  { title: 'DEFAULT', value: ({ value }) => String(value) },
  { title: 'FROM', value: ({ min }) => String(min) },
  { title: 'TO', value: ({ max }) => String(max) },
];

export function limitsVerb(program: Command, { act }: Cli): void {
  exampled(program.command('limits').description('every bound of a gateway process, its default and its reason'), [
    'millrace limits',
    'millrace start --limit drainMs=5000',
    'MILLRACE_LIMIT=inFlight=1024,connections=2000 millrace start',
  ]).action(
    act(async ({ terminal }) => {
      const { LIMIT_TABLE } = await import('@millrace/gateway/limits');
      const data: Row[] = Object.entries(LIMIT_TABLE).map(([name, limit]) => ({ name, ...limit }));
      if (terminal.json) return terminal.record({ data, next: null });
      const [head = '', ...lines] = linesOf(data, terminal.width);
      terminal.line(terminal.style('bold', head));
      for (const line of lines) terminal.line(line);
    }),
  );
}

/** The reasons are sentences: they go on below themselves, or on a narrow terminal below their limit. */
function linesOf(rows: readonly Row[], width: number): string[] {
  const table = tableOf(COLUMNS, rows, Infinity);
  const aside = Math.max(...table.map((line) => line.length)) + 2;
  const isNarrow = width - aside < WHY_MIN;
  const left = isNarrow ? 4 : aside;
  return table.flatMap((line, at) => {
    const [first = '', ...more] = wrapped(rows[at - 1]?.why ?? 'WHAT AND WHY', width - left);
    const below = more.map((text) => ' '.repeat(left) + text);
    return isNarrow ? [line, ' '.repeat(left) + first, ...below] : [`${line.padEnd(aside)}${first}`, ...below];
  });
}
