/** What is printed: a failure with its history, and the table of situations. */
import type { SeedResult } from './seed.ts';
import { SITUATIONS, emptyCounts } from './situations.ts';
import type { Counts, Situation } from './situations.ts';

export interface Totals {
  seeds: number;
  steps: number;
  events: number;
  crashes: number;
  virtualMs: number;
  failed: number;
  readonly counts: Counts;
  /** Seeds in which a situation arose. */
  readonly seedsWith: Counts;
}

export function emptyTotals(): Totals {
  return { seeds: 0, steps: 0, events: 0, crashes: 0, virtualMs: 0, failed: 0, counts: emptyCounts(), seedsWith: emptyCounts() };
}

export function addTo(totals: Totals, result: SeedResult): void {
  totals.seeds += 1;
  totals.steps += result.steps;
  totals.events += result.events;
  totals.crashes += result.crashes;
  totals.virtualMs += result.virtualMs;
  if (result.broken.length > 0) totals.failed += 1;
  for (const name of Object.keys(totals.counts) as Situation[]) {
    const times = result.counts[name] ?? 0;
    totals.counts[name] += times;
    if (times > 0) totals.seedsWith[name] += 1;
  }
}

export function neverArose({ counts }: Totals): readonly Situation[] {
  return (Object.keys(counts) as Situation[]).filter((name) => counts[name] === 0);
}

export function failureText({ seed, steps, broken, history }: SeedResult): string {
  const told = broken.map(({ promise, sentence, detail }) => `  ${promise}: ${sentence}\n      ${detail}`);
  return [
    `seed ${seed} broke at step ${steps}:`,
    ...told.slice(0, 3),
    '  history:',
    ...history.map((line) => `    ${line.length > 400 ? `${line.slice(0, 400)}…` : line}`),
    `  again: npm run simulate -- --seed ${seed} --trace`,
  ].join('\n');
}

export function situationTable({ counts, seedsWith }: Totals): string {
  const rows = (Object.entries(SITUATIONS) as [Situation, string][]).map(
    ([name, words]) => `${words.padEnd(62)} ${String(counts[name]).padStart(9)} ${String(seedsWith[name]).padStart(7)}`,
  );
  return [`${'situation'.padEnd(62)} ${'times'.padStart(9)} ${'seeds'.padStart(7)}`, ...rows].join('\n');
}
