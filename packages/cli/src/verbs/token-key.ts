/** `millrace token-key`: the keys that sign tokens. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { showList } from '../lists.ts';
import type { Column } from '../table.ts';
import type { Terminal } from '../terminal.ts';
import { relative } from '../text.ts';

interface TokenKey {
  readonly kid: string;
  readonly createdAt: string;
  readonly signsFrom: string;
  readonly verifiesUntil?: string;
}

interface Keys {
  readonly data: readonly TokenKey[];
}

export function tokenKeyVerbs(program: Command, { act }: Cli): void {
  const tokenKey = exampled(program.command('token-key').description('the keys that sign tokens'), ['millrace token-key rotate']);

  tokenKey
    .command('list')
    .description('those that count')
    .action(
      act(async ({ client, terminal }) => {
        const { body } = await client().ask<Keys>('GET /v1/token-keys');
        show(terminal, body);
      }),
    );

  tokenKey
    .command('rotate')
    .description('make a new one; it signs in five minutes, and tokens of the former count to their end')
    .option('--now', 'somebody else may have it: the new one signs at once, and no token made before counts any more')
    .option('--yes', 'do not ask')
    .action(
      act<[], { now?: boolean; yes?: boolean }>(async (call) => {
        const { now = false } = call.options;
        if (now) await confirm(call, 'No token made so far will count any more. Rotate now?');
        const { body } = await call.client().ask<Keys>('POST /v1/token-keys/rotate', { json: { now } });
        show(call.terminal, body);
      }),
    );
}

function show(terminal: Terminal, keys: Keys): void {
  showList(terminal, { ...keys, next: null }, { columns: columnsAt(Date.now()), nothing: 'There are no keys.' });
}

function columnsAt(nowMs: number): Column<TokenKey>[] {
  return [
    { title: 'KEY', value: ({ kid }) => kid },
    { title: 'SIGNS FROM', value: ({ signsFrom }) => relative(signsFrom, nowMs) },
    { title: 'VERIFIES UNTIL', value: ({ verifiesUntil }) => relative(verifiesUntil, nowMs) },
  ];
}
