/** CPU time so far. Less troubled by others on the machine than time on the clock. */
export interface Cpu {
  /** Of the whole process: store thread, collector and all. */
  readonly cpuMs: number;
  readonly mainMs: number;
}

export function cpuNow(): Cpu {
  const whole = process.cpuUsage();
  const main = process.threadCpuUsage();
  return { cpuMs: (whole.user + whole.system) / 1_000, mainMs: (main.user + main.system) / 1_000 };
}

export function cpuSince(before: Cpu): Cpu {
  return cpuBetween(before, cpuNow());
}

export function cpuBetween(before: Cpu, after: Cpu): Cpu {
  return { cpuMs: after.cpuMs - before.cpuMs, mainMs: after.mainMs - before.mainMs };
}
