/** What a route says of itself: what Ajv checks its requests with, and all that the OpenAPI document is made from. */
import type { ProblemCode } from '@millrace/core/problem';

/**
 * JSON Schema in the words that draft 7 (Ajv, at the door) and 2020-12 (OpenAPI 3.1) have in common, and one word more: what
 * `means` holds is shown by the document in the schema's place; `false`: nothing is. For values that are checked further in,
 * where their code and sentence come from, and for numbers in a query, which arrive as text.
 */
export interface Schema {
  readonly [keyword: string]: unknown;
}

export type Tag =
  | 'events'
  | 'topics'
  | 'subscriptions'
  | 'deliveries'
  | 'dead letters'
  | 'operations'
  | 'realtime'
  | 'apps'
  | 'tokens'
  | 'sdk'
  | 'process';

export interface Example {
  readonly summary: string;
  readonly value: unknown;
  /** Beside the content type, for the curl line of docs/api.md. */
  readonly 'x-headers'?: Readonly<Record<string, string>>;
}

export interface Media {
  readonly schema: Schema;
  readonly examples?: Readonly<Record<string, Example>>;
}

export interface Header {
  readonly description: string;
  /** It is there in every such answer. */
  readonly required?: boolean;
  readonly schema: Schema;
}

/** A Response Object of OpenAPI; Fastify reads it as well. */
export interface Said {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Header>>;
  readonly content?: Readonly<Record<string, Media>>;
}

/** A parameter in a header that the route reads by itself. */
export interface HeaderParameter {
  readonly name: string;
  readonly description: string;
  readonly schema: Schema;
}

/** One method at one address. */
export interface Call {
  readonly operationId: string;
  readonly tag: Tag;
  readonly summary: string;
  /** Markdown. */
  readonly description?: string;
  /** The parts of the address that begin with a colon: always text, so Ajv does not see them. */
  readonly path?: Readonly<Record<string, Schema>>;
  readonly querystring?: Schema;
  readonly body?: Schema;
  /** Bodies that the route reads as bytes; Ajv does not see them. */
  readonly takes?: Readonly<Record<string, Media>>;
  readonly reads?: readonly HeaderParameter[];
  readonly response: Readonly<Record<number, Said>>;
  /** Beside those that every call of its kind may be answered with (see codes.ts). */
  readonly problems?: readonly ProblemCode[];
  /** A batch of which nothing is stored is answered with the status of its first problem. */
  readonly refusedAs?: Media;
  /** It takes If-Match. */
  readonly matches?: boolean;
}

declare module 'fastify' {
  interface FastifySchema extends Partial<Pick<Call, Exclude<keyof Call, 'querystring' | 'body' | 'response'>>> {}
  interface FastifyContextConfig {
    /** Not an address of its own: it says which methods one takes. */
    readonly undescribed?: boolean;
  }
}
