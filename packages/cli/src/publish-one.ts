/** One event from the command line. */
import { randomBytes } from 'node:crypto';
import { isJsonType } from '@millrace/core/attributes';
import { newId } from '@millrace/core/ids';
import { isJson } from '@millrace/core/json-scan';
import type { Call } from './cli.ts';
import { readWhole } from './input.ts';
import type { LineResult } from './publishing.ts';
import { misused } from './refusal.ts';
import { textOf } from './text.ts';

/** Of one event's data: the gateway's own limit, below this, is said by the gateway. */
const DATA_BYTES_MAX = 16 * 1024 * 1024;

export interface PublishOptions {
  readonly type?: string;
  readonly data?: string;
  readonly file?: string;
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly partitionKey?: string;
  readonly contentType?: string;
  readonly attribute?: Readonly<Record<string, string>>;
  readonly header?: Readonly<Record<string, string>>;
  readonly skip?: number;
  readonly failed?: string;
}

export type PublishCall = Call<[string | undefined, string | undefined], PublishOptions>;

export async function publishOne(call: PublishCall): Promise<void> {
  const { options, terminal } = call;
  const { topic, data } = given(call);
  if (topic === undefined)
    throw misused(
      'say which topic: millrace publish orders.created \'{"id":42}\'',
      'Many events: --file PATH, or --file - for standard input.',
    );
  if (options.skip !== undefined || options.failed !== undefined) throw misused('--skip and --failed go with --file');
  const bytes = data === undefined ? undefined : await bytesOf(data, call);
  const { id, status, shard, position } = await send(call, { topic, bytes });
  terminal.data({ id, status, shard, position }, () => `${id}  ${status}  ${topic}`);
  if (status === 'duplicate') terminal.hint('It was published before: nothing was added.');
}

/** Topic and data, each named in one of two places. */
export function given({ args: [topic, data], options }: PublishCall): { readonly topic?: string; readonly data?: string } {
  if (topic !== undefined && options.type !== undefined) throw misused('the topic is there twice: as an argument and as --type');
  if (data !== undefined && options.data !== undefined) throw misused('the data are there twice: as an argument and as --data');
  const type = options.type ?? topic;
  const payload = options.data ?? data;
  return { ...(type === undefined ? {} : { topic: type }), ...(payload === undefined ? {} : { data: payload }) };
}

async function bytesOf(data: string, { world }: PublishCall): Promise<Uint8Array> {
  if (data === '-') return readWhole('-', world, DATA_BYTES_MAX);
  if (data.startsWith('@')) return readWhole(data.slice(1), world, DATA_BYTES_MAX);
  return Buffer.from(data);
}

type Stored = Extract<LineResult, { readonly id: string }>;

/** As a structured CloudEvent: JSON stands in it as it was typed, everything else in base64. */
async function send(
  { options, client }: PublishCall,
  { topic, bytes }: { readonly topic: string; readonly bytes: Uint8Array | undefined },
): Promise<Stored> {
  const { id, source, subject, partitionKey, contentType, attribute, header } = options;
  if (bytes !== undefined && (contentType === undefined || isJsonType(contentType)) && !isJson(bytes))
    throw misused(
      'the data are not JSON',
      'Text in JSON has quotes: \'"hello"\'. For something else say what it is: --content-type text/plain.',
    );
  const attributes = JSON.stringify({
    ...attribute,
    specversion: '1.0',
    type: topic,
    // Made here, so that it could be sent again without being stored twice.
    id: id ?? newId('evt', Date.now(), randomBytes),
    ...Object.fromEntries(
      Object.entries({ source, subject, partitionkey: partitionKey, datacontenttype: contentType }).filter(
        ([, value]) => value !== undefined,
      ),
    ),
  }).slice(0, -1);
  const isData = contentType === undefined || isJsonType(contentType);
  const payload =
    bytes === undefined ? '' : isData ? `,"data":${textOf(bytes)}` : `,"data_base64":"${Buffer.from(bytes).toString('base64')}"`;
  const { body } = await client().ask<Stored>('POST /v1/events', {
    body: `${attributes}${payload}}`,
    headers: { 'content-type': 'application/cloudevents+json', ...header },
  });
  return body;
}
