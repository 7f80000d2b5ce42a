/** `millrace publish`: one event from the command line, or many from a file or standard input. */
import { type Command, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import type { PublishOptions } from '../publish-one.ts';
import { headers, pairs, wholeNumber } from '../readers.ts';

export function publishVerb(program: Command, { act }: Cli): void {
  exampled(
    program
      .command('publish [topic] [data]')
      .description('one event, or many with --file')
      .option('--type <topic>', 'the topic, instead of the first argument')
      .option('--data <data>', 'the data, instead of the second argument; @path is a file, - standard input')
      .option('--file <path>', 'NDJSON, one event per line (- is standard input); with a topic each line is the data of one')
      .option('--partition-key <key>', "the event's key, for order")
      .option('--id <id>', 'its id; published twice, it is stored once')
      .option('--source <source>', 'where it comes from, a URI reference')
      .option('--subject <text>', 'what it is about')
      .option('--content-type <type>', 'of the data (default application/json)')
      .addOption(new Option('--attribute <name=value>', 'an extension attribute; repeatable').argParser(pairs))
      .addOption(new Option('--header <pair>', "'Name: value', a header of the request; repeatable").argParser(headers))
      .addOption(
        new Option('--skip <n>', 'of a file: pass over so many lines').argParser(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
      )
      .option('--failed <path>', 'of a file: where events go that were not stored, to be published again'),
    [
      'millrace publish orders.created \'{"id":42}\'',
      'millrace publish orders.created \'{"id":43}\' --partition-key customer-7',
      'jq -c .rows[] rows.json | millrace publish rows.added --file -',
      'millrace publish --file events.ndjson --failed again.ndjson',
    ],
  ).action(
    act<[string | undefined, string | undefined], PublishOptions>(async (call) => {
      if (call.options.file !== undefined) return (await import('../publish-many.ts')).publishMany(call, call.options.file);
      return (await import('../publish-one.ts')).publishOne(call);
    }),
  );
}
