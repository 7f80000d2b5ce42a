/** Figures for people. */
import type { Outcome } from './scenario.ts';

export interface Played {
  readonly name: string;
  readonly outcome: Outcome;
  readonly seconds: number;
}

const HEAD = [
  'scenario',
  'events',
  'deliveries',
  'attempts',
  'dead',
  'kills',
  'in delivery',
  'in batch',
  'duplicates',
  'per kill',
  'max',
  'ready ms',
  'seconds',
  '',
];

export function table(played: readonly Played[]): string {
  const rows = [HEAD, ...played.map(row)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows
    .map((cells) =>
      cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '),
    )
    .join('\n');
}

function row({ name, outcome, seconds }: Played): string[] {
  const { figures, skipped, breaches } = outcome;
  const verdict = skipped !== undefined ? 'skipped' : breaches.length === 0 ? 'passed' : 'FAILED';
  if (figures === undefined) return [name, ...Array.from({ length: HEAD.length - 3 }, () => '-'), seconds.toFixed(0), verdict];
  const { duplicatesPerKill: perKill } = figures;
  const counts = [figures.events, figures.deliveries, figures.attempts, figures.deadLetters, perKill.length];
  const hits = [figures.killsInDelivery, figures.killsInBatch, figures.duplicates];
  return [
    name,
    ...[...counts, ...hits].map((count) => count.toLocaleString('en')),
    perKill.length === 0 ? '-' : meanOf(perKill).toFixed(1),
    perKill.length === 0 ? '-' : String(Math.max(...perKill)),
    meanOf(figures.readyAfterMs).toFixed(0),
    seconds.toFixed(0),
    verdict,
  ];
}

function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
