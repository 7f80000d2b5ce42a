/** What is read from files and standard input: whole, or line by line, always bounded. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isObject } from '@millrace/core/json-values';
import { misused } from './refusal.ts';
import { number } from './text.ts';
import type { World } from './world.ts';

/** Of configuration: the gateway takes no more either. */
const JSON_BYTES_MAX = 256 * 1024;

/** `-` is standard input. */
export async function chunksOf(path: string, { stdin, directory }: World): Promise<AsyncIterable<Uint8Array>> {
  if (path === '-') return stdin;
  const found = await stat(resolve(directory, path)).catch((error: unknown) => {
    throw misused(`${path} can not be read: ${(error as Error).message.split(',')[0]}`);
  });
  if (found.isDirectory()) throw misused(`${path} is a directory`);
  return createReadStream(resolve(directory, path), { highWaterMark: 256 * 1024 });
}

/** Undefined for standard input and whatever else is no file. */
export async function sizeOf(path: string, { directory }: World): Promise<number | undefined> {
  if (path === '-') return undefined;
  const found = await stat(resolve(directory, path)).catch(() => undefined);
  return found?.isFile() === true ? found.size : undefined;
}

export async function readWhole(path: string, world: World, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of await chunksOf(path, world)) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw misused(`${nameOf(path)} has more than ${number(bytesMax)} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A JSON object that people wrote. */
export async function readObject(path: string, world: World): Promise<Record<string, unknown>> {
  const text = Buffer.from(await readWhole(path, world, JSON_BYTES_MAX)).toString();
  return objectOf(text, nameOf(path));
}

export function objectOf(text: string, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw misused(`${name} is not valid JSON: ${(error as Error).message.slice(0, 120)}`);
  }
  if (!isObject(value)) throw misused(`${name} must be a JSON object`);
  return value;
}

function nameOf(path: string): string {
  return path === '-' ? 'standard input' : path;
}

export interface Line {
  /** From 1, blank ones counted. */
  readonly number: number;
  /** Without its end. Undefined where the line is longer than allowed: it was passed over. */
  readonly bytes: Uint8Array | undefined;
  /** Bytes read up to its end. */
  readonly readBytes: number;
}

const NEWLINE = 0x0a;

/** Lines that are not blank. No more than one line and one chunk are held. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, lineBytesMax: number): AsyncGenerator<Line> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  let readBytes = 0;
  let number = 0;
  const line = (last: Uint8Array): Line => {
    const tooLong = restBytes + last.length > lineBytesMax;
    const bytes = tooLong ? undefined : Buffer.concat([...rest, last]);
    rest = [];
    restBytes = 0;
    return { number, bytes, readBytes };
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      number++;
      readBytes += end + 1 - start;
      const found = line(chunk.subarray(start, end));
      start = end + 1;
      if (!isBlank(found.bytes)) yield found;
    }
    restBytes += chunk.length - start;
    readBytes += chunk.length - start;
    if (restBytes <= lineBytesMax) rest.push(chunk.subarray(start));
    else rest = [];
  }
  if (restBytes === 0) return;
  number++;
  const found = line(new Uint8Array(0));
  if (!isBlank(found.bytes)) yield found;
}

function isBlank(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
