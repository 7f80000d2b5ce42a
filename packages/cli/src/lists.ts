/** Lists of the API: pages put together up to a limit, shown as a table or as `{data, next}`. */
import { type Command, Option } from 'commander';
import type { Client, Query } from './client.ts';
import { wholeNumber } from './readers.ts';
import type { Terminal } from './terminal.ts';
import { type Column, cutsIds, tableOf } from './table.ts';

/** What the API gives in one answer. */
export const PAGE_MAX = 500;
const LIMIT_DEFAULT = 50;
/** Kept in memory before anything is shown. */
const LIMIT_MAX = 10_000;

export interface ListOptions {
  readonly limit: number;
  readonly cursor?: string;
}

export interface List<Row> {
  readonly data: readonly Row[];
  /** For `--cursor`; null at the end. */
  readonly next: string | null;
}

export function withListOptions(command: Command): Command {
  return command
    .addOption(new Option('--limit <n>', 'so many at most').argParser(wholeNumber(1, LIMIT_MAX)).default(LIMIT_DEFAULT))
    .addOption(new Option('--cursor <cursor>', 'go on where the last answer ended'));
}

/** All filters are the route's own. */
export async function listOf<Row>(
  client: Client,
  route: string,
  { limit, cursor }: ListOptions,
  query: Query = {},
): Promise<List<Row>> {
  const data: Row[] = [];
  let next: string | null = cursor ?? null;
  do {
    const page: { readonly body: List<Row> } = await client.ask<List<Row>>(route, {
      query: { ...query, limit: Math.min(PAGE_MAX, limit - data.length), cursor: next ?? undefined },
    });
    data.push(...page.body.data);
    next = page.body.next;
  } while (next !== null && data.length < limit);
  return { data, next };
}

/** All of them, page by page of `limit`. */
export async function* eachOf<Row>(client: Client, route: string, query: Query = {}, limit = PAGE_MAX): AsyncGenerator<Row> {
  let cursor: string | null = null;
  do {
    const page: { readonly body: List<Row> } = await client.ask<List<Row>>(route, {
      query: { ...query, limit, cursor: cursor ?? undefined },
    });
    yield* page.body.data;
    cursor = page.body.next;
  } while (cursor !== null);
}

export function showList<Row>(
  terminal: Terminal,
  list: List<Row>,
  { columns, nothing }: { readonly columns: readonly Column<Row>[]; readonly nothing: string },
): void {
  if (terminal.json) return terminal.record(list);
  if (list.data.length === 0) return terminal.hint(nothing);
  const [head = '', ...lines] = tableOf(columns, list.data, terminal.width);
  terminal.line(terminal.style('bold', head));
  for (const line of lines) terminal.line(line);
  if (cutsIds(columns, list.data, terminal.width))
    terminal.hint('Ids are cut or left out at this width: a wider terminal, or --json, shows them whole.');
  if (list.next !== null) terminal.hint(`There are more: --cursor ${list.next}, or a higher --limit.`);
}
