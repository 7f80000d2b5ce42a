/** `millrace topic rejects`: what clients of the broker wrote to a topic, past the gateway, and can not be an event. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Client } from '../client.ts';
import { type List, type ListOptions, PAGE_MAX, showList, withListOptions } from '../lists.ts';
import { timeOf } from '../moments.ts';
import type { Column } from '../table.ts';
import { relative } from '../text.ts';

interface Reject {
  readonly shard: string;
  readonly position: string;
  readonly appendedAt: string;
  readonly code: string;
  readonly detail: string;
  readonly bytes: number;
  readonly begins?: string;
}

interface Options extends ListOptions {
  readonly since: string;
}

/** The log is looked through for them: not all of it where nobody asks for that. */
const SINCE_DEFAULT = '1d';

export function rejectsVerb(topic: Command, { act }: Cli): void {
  withListOptions(topic.command('rejects <topic>').description('what clients of the broker wrote to it and can not be an event'))
    .option('--since <time>', 'how far back: how long ago, or a time', SINCE_DEFAULT)
    .action(
      act<[string], Options>(async ({ args: [name], options, client, terminal }) => {
        const since = timeOf(options.since, { option: '--since', nowMs: Date.now() });
        const list = await rejectsOf(client(), name, { ...options, since });
        const nothing = `No rejects of ${name} since ${options.since}: --since looks further back`;
        showList(terminal, list, { columns: columnsAt(Date.now()), nothing });
      }),
    );
}

/** Answers may be empty and not the last: each looks through a part of the log. */
async function rejectsOf(client: Client, topic: string, { limit, cursor, since }: Options): Promise<List<Reject>> {
  const data: Reject[] = [];
  let next: string | null = cursor ?? null;
  for (;;) {
    const { body } = await client.ask<List<Reject> & { readonly through: string }>(
      `GET /v1/topics/${encodeURIComponent(topic)}/rejects`,
      { query: { limit: Math.min(PAGE_MAX, limit - data.length), cursor: next ?? undefined } },
    );
    data.push(...body.data.filter(({ appendedAt }) => appendedAt >= since));
    next = body.next;
    if (next === null || body.through <= since) return { data, next: null };
    if (data.length >= limit) return { data, next };
  }
}

function columnsAt(nowMs: number): Column<Reject>[] {
  return [
    { title: 'WHEN', value: ({ appendedAt }) => relative(appendedAt, nowMs) },
    { title: 'CODE', value: ({ code }) => code },
    { title: 'WHY', value: ({ detail }) => detail, shrinks: 1 },
    { title: 'BYTES', value: ({ bytes }) => String(bytes) },
    { title: 'BEGINS', value: ({ begins = '-' }) => JSON.stringify(begins), shrinks: 2 },
    { title: 'POSITION', value: ({ position }) => position },
  ];
}
