/** `millrace topic`: what may be published. */
import { type Command, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { wholeNumber } from '../readers.ts';
import { misused, Refusal } from '../refusal.ts';
import type { Column } from '../table.ts';
import { detailsOf, relative } from '../text.ts';
import { made } from './app.ts';
import { rejectsVerb } from './topic-rejects.ts';

interface Topic extends TopicOptions {
  readonly topic: string;
  readonly createdAt: string;
}

/** As the API names them. */
interface TopicOptions {
  readonly owner?: string;
  readonly retention?: string;
  readonly latency?: string;
  readonly keyPath?: string;
  readonly maxBytes?: number;
}

const at = (name: string): string => `/v1/topics/${encodeURIComponent(name)}`;

export function topicVerbs(program: Command, cli: Cli): void {
  const { act } = cli;
  const topic = exampled(program.command('topic').description('what may be published'), [
    'millrace topic create orders.created --owner shop --retention 7d',
    'millrace topic update orders.created --key-path $.customer.id',
    'millrace topic list',
  ]);

  withListOptions(topic.command('list').description('all topics')).action(
    act<[], ListOptions>(async ({ client, options, terminal }) => {
      const list = await listOf<Topic>(client(), 'GET /v1/topics', options);
      showList(terminal, list, { columns: columnsAt(Date.now()), nothing: 'No topics are declared: millrace topic create NAME' });
    }),
  );

  topic
    .command('get <topic>')
    .description('one topic')
    .action(
      act<[string]>(async ({ args: [name], client, terminal }) => {
        const { body } = await client().ask<Topic>(`GET ${at(name)}`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  withTopicOptions(topic.command('create <topic>').description('declare it')).action(
    act<[string], TopicOptions>(async ({ args: [name], options, client, terminal }) => {
      const already = new Refusal(EXIT.conflict, `the topic '${name}' is declared already`, {
        advice: `millrace topic update ${name}`,
      });
      const { body } = await made<Topic>(client(), `PUT ${at(name)}`, { json: settingsOf(options), already });
      terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      terminal.hint(`Publish to it: millrace publish ${name} '{"id":1}'`);
      terminal.hint(`Have it delivered: millrace subscription create ID --topics ${name} --to URL`);
    }),
  );

  withTopicOptions(topic.command('update <topic>').description('change what is named, keep the rest')).action(
    act<[string], TopicOptions>(async ({ args: [name], options, client, terminal }) => {
      const change = settingsOf(options);
      if (Object.keys(change).length === 0)
        throw misused('say what to change', 'millrace topic update --help lists the options.');
      const { body: before, headers } = await client().ask<Topic>(`GET ${at(name)}`);
      const { body } = await client().ask<Topic>(`PUT ${at(name)}`, {
        json: { ...settingsOf(before), ...change },
        headers: { 'if-match': headers.get('etag') ?? '*' },
      });
      terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
    }),
  );

  rejectsVerb(topic, cli);

  topic
    .command('delete <topic>')
    .description('no events of it are taken any more; what it holds stays until its retention ends')
    .option('--yes', 'do not ask')
    .action(
      act<[string], { yes?: boolean }>(async (call) => {
        const [name] = call.args;
        await confirm(call, `Delete the topic '${name}'? Its events are refused from then on.`);
        await call.client().ask(`DELETE ${at(name)}`);
        call.terminal.data({ deleted: name }, () => `deleted ${name}`);
      }),
    );
}

function withTopicOptions(command: Command): Command {
  return command
    .option('--owner <app>', 'the app that may change it')
    .option('--retention <duration>', 'how long its events are kept (default 7d)')
    .addOption(
      new Option('--latency <class>', 'who goes first when the gateway is full').choices(['interactive', 'standard', 'bulk']),
    )
    .option('--key-path <path>', "where its events' key stands in their data, such as $.customer.id")
    .addOption(new Option('--max-bytes <n>', 'of one payload').argParser(wholeNumber(1, 2 ** 31)));
}

function settingsOf({ owner, retention, latency, keyPath, maxBytes }: TopicOptions): TopicOptions {
  return Object.fromEntries(
    Object.entries({ owner, retention, latency, keyPath, maxBytes }).filter(([, value]) => value !== undefined),
  );
}

function columnsAt(nowMs: number): Column<Topic>[] {
  return [
    { title: 'TOPIC', value: ({ topic }) => topic },
    { title: 'OWNER', value: ({ owner = '-' }) => owner, shrinks: 1 },
    { title: 'RETENTION', value: ({ retention = '-' }) => retention },
    { title: 'LATENCY', value: ({ latency = '-' }) => latency },
    { title: 'KEY PATH', value: ({ keyPath = '-' }) => keyPath, shrinks: 1 },
    { title: 'CREATED', value: ({ createdAt }) => relative(createdAt, nowMs) },
  ];
}
