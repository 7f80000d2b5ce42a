/** `millrace operation`: replays, redrives and discards under way, and those that have ended. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { type Operation, operationAt, sayOperation } from '../operations.ts';
import type { Column } from '../table.ts';
import { detailsOf, relative } from '../text.ts';

export function operationVerbs(program: Command, { act }: Cli): void {
  const operation = exampled(program.command('operation').description('replays, redrives and discards under way'), [
    'millrace operation list',
    'millrace operation cancel run_…',
  ]);

  withListOptions(operation.command('list').description('all operations')).action(
    act<[], ListOptions>(async ({ client, options, terminal }) => {
      const list = await listOf<Operation>(client(), 'GET /v1/operations', options);
      showList(terminal, list, { columns: columnsAt(Date.now()), nothing: 'There are no operations.' });
    }),
  );

  operation
    .command('get <operation>')
    .description('one operation')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Operation>(`GET ${operationAt(id)}`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  operation
    .command('cancel <operation>')
    .description('stop it; what was done stays done')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Operation>(`POST ${operationAt(id, '/cancel')}`);
        terminal.data(body, () => sayOperation(body));
      }),
    );
}

function columnsAt(nowMs: number): Column<Operation>[] {
  return [
    { title: 'OPERATION', value: ({ id }) => id },
    { title: 'KIND', value: ({ kind }) => kind },
    { title: 'SUBSCRIPTION', value: ({ subscription }) => subscription, shrinks: 1 },
    { title: 'STATE', value: ({ state }) => state },
    {
      title: 'EVENTS',
      value: ({ progress }) => (progress === undefined ? '-' : [progress.done, progress.total].join(' of ').replace(/ of $/, '')),
    },
    { title: 'STARTED', value: ({ createdAt }) => relative(createdAt, nowMs) },
  ];
}
