/** What a verb says: data on stdout, everything else on stderr. `--json` makes data JSON, `--quiet` leaves hints out. */
import { styleText } from 'node:util';
import type { Out, World } from './world.ts';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

export interface Terminal {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Of stdout in characters; Infinity where nothing must be cut: a pipe, a file. */
  readonly width: number;
  /** Stderr is looked at by a person: a line may be drawn again, of fewer characters than this. 0: nobody looks. */
  readonly live: number;
  /** One record: as a line of JSON, or as `show` says it to people. */
  data(record: unknown, show: () => string): void;
  /** As above, of a record that is JSON already and must stay as it is, byte for byte. */
  raw(show: () => string, json: string): void;
  /** A line of JSON with `--json`, else nothing. */
  record(record: unknown): void;
  /** A line for people without `--json`, else nothing. */
  line(text: string): void;
  /** Progress, hints, what to do next. */
  hint(text: string): void;
  /** Something to know; not left out by `--quiet`. */
  warn(text: string): void;
  /** What went wrong, and below it what to do. */
  error(text: string, advice?: string): void;
  /** Text on stderr as it is, for lines that are drawn again. */
  draw(text: string): void;
  /** Of stdout. */
  style(style: Style, text: string): string;
  /** Resolves when whoever reads stdout has caught up. */
  drained(): Promise<void>;
}

export function createTerminal(
  { json = false, quiet = false }: { readonly json?: boolean; readonly quiet?: boolean },
  { stdout, stderr, environment }: Pick<World, 'stdout' | 'stderr' | 'environment'>,
): Terminal {
  const outColours = coloursOf(stdout, environment);
  const errColours = coloursOf(stderr, environment);
  let full = false;

  function put(text: string): void {
    if (!stdout.write(`${text}\n`)) full = true;
  }
  const paint = (colours: boolean, style: Style, text: string): string =>
    colours ? styleText(style, text, { validateStream: false }) : text;

  return {
    json,
    quiet,
    width: stdout.columns ?? Infinity,
    live: stderr.isTTY && !quiet ? (stderr.columns ?? 80) : 0,
    data: (record, show) => put(json ? JSON.stringify(record) : show()),
    raw: (show, text) => put(json ? text : show()),
    record(record) {
      if (json) put(JSON.stringify(record));
    },
    line(text) {
      if (!json) put(text);
    },
    hint(text) {
      if (!quiet) stderr.write(`${paint(errColours, 'dim', text)}\n`);
    },
    warn: (text) => void stderr.write(`${paint(errColours, 'yellow', text)}\n`),
    error(text, advice) {
      stderr.write(`${paint(errColours, 'red', text)}\n${advice === undefined ? '' : `${advice}\n`}`);
    },
    draw: (text) => void stderr.write(text),
    style: (style, text) => paint(outColours && !json, style, text),
    async drained() {
      if (!full) return;
      full = false;
      await stdout.drained();
    },
  };
}

/** NO_COLOR (no-color.org) and FORCE_COLOR say it whatever stands at the other end. */
export function coloursOf(out: Out, { NO_COLOR, FORCE_COLOR }: NodeJS.ProcessEnv): boolean {
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  return out.isTTY;
}
