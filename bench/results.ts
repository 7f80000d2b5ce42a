/** Figures as a page for people. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { type Outcome, type Sample, type Spread, spreadOf } from './figure.ts';

export interface Machine {
  readonly lines: readonly string[];
}

/** Above it others were at work beside us. A benchmark's own processes keep about two cores busy, so it is looked at before. */
const QUIET_LOAD = 0.5;

export function machineNow({
  loadBefore,
  tookMs,
  args,
}: {
  readonly loadBefore: number;
  readonly tookMs: number;
  readonly args: readonly string[];
}): Machine {
  const load = `load average before ${loadBefore.toFixed(1)}, after ${(loadavg()[0] ?? 0).toFixed(1)}`;
  const noise =
    loadBefore <= QUIET_LOAD
      ? `${load}: quiet.`
      : `${load}: **noisy**, others used the machine at the same time. Ratios and CPU per event say more than events per second; run it again on a quiet machine before quoting.`;
  return {
    lines: [
      `Machine: ${availableParallelism()} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 1024 ** 3)} GB, ${type()} ${release()}; generator, gateway and receiver share it.`,
      `Date: ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC. Node ${process.versions.node}. SQLite ${process.versions['sqlite'] ?? '?'}. \`ulimit -n\` ${openFiles()}.`,
      `Command: \`npm run bench${args.length === 0 ? '' : ` -- ${args.join(' ')}`}\`, ${Math.round(tookMs / 1_000)} s.`,
      `Noise: ${noise}`,
    ],
  };
}

function openFiles(): string {
  return execFileSync('/bin/sh', ['-c', 'ulimit -n']).toString().trim();
}

export function pageOf({ lines }: Machine, outcomes: readonly Outcome[]): string {
  const sections = outcomes.map((outcome) => sectionOf(outcome));
  return `# Results

Written by \`npm run bench\`; not edited by hand. Each figure is the median of its runs with the smallest and the largest in
brackets; its raw limit was measured in the same run, and the ratio is ours ÷ raw, run by run.

${lines.map((line) => `- ${line}`).join('\n')}

${sections.join('\n')}`;
}

/** The page with these sections in the place of what it had of the same names, or at its end. Each says when and how it was measured. */
export function pageWith(page: string, { lines }: Machine, outcomes: readonly Outcome[]): string {
  const [head = '', ...sections] = page.split(/^(?=## )/m);
  const all = new Map(sections.map((section) => [section.slice(3, section.indexOf('\n')), `${section.trimEnd()}\n`]));
  for (const outcome of outcomes.filter(({ skipped }) => skipped === undefined))
    all.set(outcome.benchmark, sectionOf(outcome, `Measured by itself:\n\n${lines.map((line) => `- ${line}`).join('\n')}`));
  return head + [...all.values()].join('\n');
}

function sectionOf(outcome: Outcome, ...about: readonly string[]): string {
  const method = outcome.method.length === 0 ? [] : [outcome.method.join(' ')];
  return [`## ${outcome.benchmark}`, ...about, ...method, `${tableOf(outcome)}\n`].join('\n\n');
}

export function tableOf({ benchmark, runs, skipped }: Outcome): string {
  if (skipped !== undefined) return `${benchmark} was not run: ${skipped}`;
  const rows = (runs[0] ?? []).map((_, at) => rowOf(runs.map((samples) => samples[at] as Sample)));
  const head = `| ${benchmark} (${runs.length} run${runs.length === 1 ? '' : 's'}) | ours | raw | ours ÷ raw | aim |\n|---|---|---|---|---|`;
  return [head, ...rows].join('\n');
}

function rowOf(samples: readonly Sample[]): string {
  const { name, unit, aim } = samples[0] as Sample;
  const ours = spreadOf(samples.map((sample) => sample.ours));
  const raws = samples.flatMap(({ raw }) => (raw === undefined ? [] : [raw]));
  const ratios = samples.flatMap((sample) => (sample.raw === undefined ? [] : [sample.ours / sample.raw]));
  const rest = raws.length === 0 ? ['', ''] : [textOf(spreadOf(raws)), textOf(spreadOf(ratios))];
  return `| ${name}, ${unit} | ${textOf(ours)} | ${rest.join(' | ')} | ${aim ?? ''} |`;
}

function textOf({ median, min, max }: Spread): string {
  return `**${number(median)}** (${number(min)}–${number(max)})`;
}

/** Three digits that count. */
function number(value: number): string {
  if (value === 0) return '0';
  if (value >= 1_000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(value >= 0.1 ? 2 : 3);
}
