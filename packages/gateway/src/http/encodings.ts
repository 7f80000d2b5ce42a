/** How the body of an answer may be compressed: what the client says it reads, the shortest first. */
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

export type Encoding = 'br' | 'gzip';

const compress: Readonly<Record<Encoding, (bytes: Buffer) => Promise<Buffer>>> = {
  br: (bytes) => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
  gzip: (bytes) => promisify(gzip)(bytes, { level: 9 }),
};

/** RFC 9110, section 12.5.3, without weighing one against the other. Undefined: as it is. */
export function encodingFor(accepted: string | string[] | undefined): Encoding | undefined {
  const names = new Set(
    String(accepted ?? '')
      .split(',')
      .filter((one) => !/;\s*q=0(\.0*)?\s*$/i.test(one))
      .map((one) => one.split(';')[0]?.trim().toLowerCase()),
  );
  return names.has('br') ? 'br' : names.has('gzip') ? 'gzip' : undefined;
}

/** Bytes that are asked for again and again, compressed once. */
export function createCompressed(bytes: Buffer): (encoding: Encoding | undefined) => Promise<Buffer> {
  const made: { [name in Encoding]?: Promise<Buffer> } = {};
  return async (encoding) => (encoding === undefined ? bytes : (made[encoding] ??= compress[encoding](bytes)));
}
