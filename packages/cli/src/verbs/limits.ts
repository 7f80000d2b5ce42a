/** `millrace limits`: every bound of a gateway process, with its default and its reason. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type Column, tableOf } from '../text.ts';

interface Row {
  readonly name: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'LIMIT', value: ({ name }) => name },
  { title: 'DEFAULT', value: ({ value }) => String(value) },
  { title: 'FROM', value: ({ min }) => String(min) },
  { title: 'TO', value: ({ max }) => String(max) },
  { title: 'WHAT AND WHY', value: ({ why }) => why, shrinks: true },
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
      const [head = '', ...lines] = tableOf(COLUMNS, data, terminal.width);
      terminal.line(terminal.style('bold', head));
      for (const line of lines) terminal.line(line);
    }),
  );
}
