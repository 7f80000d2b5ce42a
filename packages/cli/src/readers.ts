/** Values of options, read as commander wants it: what is wrong is a usage error that names the option. */
import { readDurationMs } from '@millrace/core/duration';
import { InvalidArgumentError } from 'commander';

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

/** Milliseconds. */
export function duration(text: string): number {
  const ms = readDurationMs(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError('Write it like 500ms, 5s, 5m, 2h or 1d.');
}

/** Repeatable; each may hold several with commas between them. */
export function words(text: string, before: readonly string[] | undefined): readonly string[] {
  const more = text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
  return [...(before ?? []), ...more];
}

/** `name=value`, repeatable. */
export function pairs(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('Write it like name=value.');
  return { ...before, [name.trim()]: value };
}

/** `name: value`, as curl takes headers; repeatable. */
export function headers(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+)\s*[:=]\s*([ -~]*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Write it like 'Name: value'.");
  return { ...before, [name.toLowerCase()]: value.trim() };
}
