/** What each driver shows of what the suites of packages/conformance ask, as tables for README.md. */
import { LOG_AREAS } from '@millrace/conformance/log-conformance';
import { STORE_AREAS } from '@millrace/conformance/store-conformance';
import { LOG_GAPS, STORE_GAPS } from '../packages/embedded/src/gaps.ts';
import { GAPS as NATS_GAPS } from '../packages/log-nats/src/gaps.ts';

export interface Driver {
  readonly name: string;
  /** Behaviour title → why the driver does not show it; undefined where there is no such driver yet. */
  readonly gaps: Readonly<Record<string, string>> | undefined;
}

type Areas = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** In the order of the columns. Each driver's test runs the suite with these same gaps. */
const LOGS: readonly Driver[] = [
  { name: 'embedded', gaps: LOG_GAPS },
  { name: 'NATS', gaps: NATS_GAPS },
  { name: 'Kafka', gaps: undefined },
  { name: 'Pulsar', gaps: undefined },
];
const STORES: readonly Driver[] = [
  { name: 'embedded', gaps: STORE_GAPS },
  { name: 'Postgres', gaps: {} },
];

const START = '<!-- conformance: written by scripts/generated.ts -->';
const END = '<!-- /conformance -->';

/** The text with its tables as they are now. Throws where it has no place for them. */
export function withTables(text: string): string {
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start === -1 || end < start) throw new RangeError(`README.md has no ${START} … ${END}`);
  const tables = [tableOf('the log', LOG_AREAS, LOGS), tableOf('directory and ledger', STORE_AREAS, STORES)];
  return `${text.slice(0, start + START.length)}\n\n${tables.join('\n')}\n${text.slice(end)}`;
}

/** A row for each area; beneath it the gaps with their reasons, and every behaviour, folded away. */
export function tableOf(what: string, areas: Areas, drivers: readonly Driver[]): string {
  const counted = Object.entries(areas).map(([area, behaviours]) => {
    const titles = Object.keys(behaviours);
    return row(area, ...drivers.map(({ gaps }) => countOf(titles, gaps)));
  });
  const each = Object.values(areas).flatMap((behaviours) =>
    Object.keys(behaviours).map((title) => row(title, ...drivers.map(({ gaps }) => signOf(title, gaps)))),
  );
  return [
    ...headed(what, drivers),
    ...counted,
    '',
    ...drivers.flatMap(reasonsOf),
    '<details>',
    `<summary>Every behaviour of ${what}</summary>`,
    '',
    ...headed('', drivers),
    ...each,
    '',
    '</details>',
    '',
  ].join('\n');
}

const headed = (what: string, drivers: readonly Driver[]): string[] => [
  row(what, ...drivers.map(({ name }) => name)),
  `|---|${'---|'.repeat(drivers.length)}`,
];

const row = (...cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function countOf(titles: readonly string[], gaps: Driver['gaps']): string {
  if (gaps === undefined) return 'not yet';
  const shown = titles.filter((title) => gaps[title] === undefined).length;
  return shown === titles.length ? String(shown) : `${shown} of ${titles.length}`;
}

function signOf(title: string, gaps: Driver['gaps']): string {
  if (gaps === undefined) return '';
  return gaps[title] === undefined ? '✔' : 'gap';
}

/** One line for all that a driver leaves out for one reason. */
function reasonsOf({ name, gaps = {} }: Driver): string[] {
  const byReason = Map.groupBy(Object.entries(gaps), ([, reason]) => reason);
  return [...byReason].flatMap(([reason, left]) => [`${name} leaves ${left.length} out: ${reason}.`, '']);
}
