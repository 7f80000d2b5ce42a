/** What the verbs are given: options read, a terminal, a client made at its first use. Turns an action into commander's. */
import type { Command } from 'commander';
import { type Client, createClient } from './client.ts';
import { EXIT, type Exit } from './exit-codes.ts';
import { type GlobalOptions, type Settings, settingsOf } from './settings.ts';
import { createTerminal, type Terminal } from './terminal.ts';
import type { World } from './world.ts';

export interface Call<Arguments extends readonly unknown[], Options> {
  readonly args: Arguments;
  readonly options: Options & GlobalOptions;
  readonly terminal: Terminal;
  readonly world: World;
  settings(): Settings;
  client(): Client;
}

export interface Cli {
  readonly version: string;
  /** For `command.action()`. What the verb answers is the exit code; nothing is 0. */
  act<Arguments extends readonly unknown[] = readonly string[], Options extends object = object>(
    verb: (call: Call<Arguments, Options>) => Promise<Exit | void>,
  ): (...given: unknown[]) => Promise<void>;
}

export function createCli({
  version,
  world,
  onExit,
}: {
  readonly version: string;
  readonly world: World;
  readonly onExit: (code: Exit) => void;
}): Cli {
  return {
    version,
    act:
      (verb) =>
      async (...given) => {
        const command = given.at(-1) as Command;
        const options = command.optsWithGlobals<GlobalOptions>();
        let settings: Settings | undefined;
        let client: Client | undefined;
        const settingsNow = (): Settings => (settings ??= settingsOf(options, world));
        const exit = await verb({
          args: command.processedArgs as never,
          options: options as never,
          terminal: createTerminal(options, world),
          world,
          settings: settingsNow,
          client: () => (client ??= createClient(settingsNow())),
        });
        onExit(exit ?? EXIT.ok);
      },
  };
}

/** With examples first, what people look for. */
export function exampled(command: Command, examples: readonly string[]): Command {
  const lines = examples.map((line) => `  ${line}`).join('\n');
  return command.addHelpText('before', `Examples:\n${lines}\n`);
}
