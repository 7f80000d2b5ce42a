/** Tables for people. Widths are counted in characters; on a narrow terminal what matters least gives way first. */
import { cut, plain } from './text.ts';

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  /** May be cut where the terminal is narrow: those of 1 first, down to a few characters, then those of 2. */
  readonly shrinks?: number;
  /** Before any other gives way, it is cut to so many characters. */
  readonly most?: number;
  /** Shorter than this (8) it becomes only where nothing else gives way any more. */
  readonly least?: number;
  /** Left out where all the others can not be shown otherwise: that of 1 first. */
  readonly drops?: number;
  /** Ids begin alike: of a cut one the end is shown, too. */
  readonly isId?: boolean;
}

/** Between two columns. */
const GAP = '  ';
/** Below it a cut column says nothing any more. */
const SHRUNK_MIN = 8;
/** `evt_…k3qfi`. */
const ID_MIN = 10;
const ID_END = 5;

export function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): string[] {
  const all = columns.map((column) => columnOf(column, rows));
  const { kept, widths } = fitted(all, width);
  const shown = kept.map(({ column, cells }, at) => {
    const to = widths[at] ?? 0;
    const cutTo = column.isId === true ? cutId : cut;
    return cells.map((cell) => cutTo(cell, to).padEnd(at === kept.length - 1 ? 0 : to));
  });
  return [undefined, ...rows].map((_, line) =>
    shown
      .map((cells) => cells[line] ?? '')
      .join(GAP)
      .trimEnd(),
  );
}

interface Filled {
  readonly column: Omit<Column<never>, 'value'>;
  /** The title first. */
  readonly cells: readonly string[];
  readonly width: number;
}

function columnOf<Row>({ value, ...column }: Column<Row>, rows: readonly Row[]): Filled {
  const cells = [column.title, ...rows.map((row) => plain(value(row)))];
  return { column, cells, width: Math.max(...cells.map(({ length }) => length)) };
}

/** Leaves out as few columns as possible; where even that is not enough, the rest gives way. */
function fitted(all: readonly Filled[], width: number): { readonly kept: readonly Filled[]; readonly widths: readonly number[] } {
  const available = (kept: readonly Filled[]): number => width - GAP.length * (kept.length - 1);
  const droppable = all.filter(({ column }) => column.drops !== undefined);
  const order = droppable.toSorted((a, b) => (a.column.drops ?? 0) - (b.column.drops ?? 0));
  for (let dropped = 0; ; dropped++) {
    const kept = all.filter((one) => !order.slice(0, dropped).includes(one));
    const widths = shrunk(kept, available(kept), ({ least = SHRUNK_MIN }) => least);
    if (sumOf(widths) <= available(kept)) return { kept, widths };
    if (dropped === order.length) return { kept, widths: shrunk(kept, available(kept), () => SHRUNK_MIN) };
  }
}

function sumOf(widths: readonly number[]): number {
  return widths.reduce((sum, one) => sum + one, 0);
}

/** Whether an id does not stand in a table of this width as it is. */
export function cutsIds<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): boolean {
  const [, ...lines] = tableOf(columns, rows, width);
  const ids = columns.filter(({ isId }) => isId === true);
  return rows.some((row, at) => ids.some(({ value }) => lines[at]?.includes(plain(value(row))) !== true));
}

/** Takes what is too much first from what has a most, then in the order of `shrinks`, there from the widest, again and again. */
function shrunk(all: readonly Filled[], available: number, leastOf: (column: Filled['column']) => number): number[] {
  const result = all.map(({ width }) => width);
  const orders = [...new Set(all.flatMap(({ column }) => column.shrinks ?? []))].toSorted((a, b) => a - b);
  let excess = sumOf(result) - available;
  const take = (floorOf: (column: Filled['column']) => number): void => {
    for (; excess > 0; excess--) {
      let widest = -1;
      for (const [at, { column }] of all.entries())
        if ((result[at] ?? 0) > floorOf(column) && (widest < 0 || (result[at] ?? 0) > (result[widest] ?? 0))) widest = at;
      if (widest < 0) return;
      result[widest] = (result[widest] ?? 0) - 1;
    }
  };
  take(({ most = Infinity }) => most);
  for (const order of orders)
    take((column) => {
      const least = Math.max(column.isId === true ? ID_MIN : leastOf(column), column.title.length);
      return column.shrinks === order ? least : Infinity;
    });
  return result;
}

function cutId(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1 - ID_END))}…${text.slice(-ID_END)}`;
}
