/** `/sdk`: the JavaScript SDK for web pages, with a manifest that says which of its versions an app gets. Anybody may read it. */
import { hash } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Problem } from '@millrace/core/problem';
import { type Asking, integrityOf, MANIFEST_KEPT_MS, manifestOf, releaseFor, signManifest, urlOf } from '../sdk/manifest.ts';
import type { Release } from '../sdk/releases.ts';
import { isKnown } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { ANYBODY } from './cors.ts';
import { createCompressed, encodingFor } from './encodings.ts';
import { placeOf } from './followed.ts';
import { FIRST_ENVIRONMENT } from './keys.ts';
import { SDK_CALLS } from './openapi/sdk.ts';

interface Query {
  readonly app?: string;
  readonly client?: string;
  readonly environment?: string;
}

/** Also where a page isolates itself (COEP), and as what it says it is, or not at all. */
const FOR_PAGES = {
  ...ANYBODY,
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
} as const;
/** Caches, link checkers and `curl -I` ask for the head alone. */
const asHead = { exposeHeadRoute: true } as const;
const FOR_EVER = 'public, max-age=31536000, immutable';
const FOR_NOW = `public, max-age=${MANIFEST_KEPT_MS / 1_000}`;

export function sdkRoutes(app: FastifyInstance, { apps, clock, releases, tokens }: RouteNeeds): void {
  /** Of the releases that were asked for lately; there are no more than are kept. */
  const compressed = new Map<string, ReturnType<typeof createCompressed>>();

  app.get<{ Params: { version: string } }>(
    '/sdk/:version/millrace.js',
    { ...asHead, schema: SDK_CALLS.version },
    async ({ params: { version }, headers }, reply) => {
      const release = await releases.get(version);
      if (release === undefined) throw await noVersion(version);
      return script(reply, release, { headers, cache: FOR_EVER });
    },
  );

  /**
   * The script itself, not a redirect to its version: a page waits for one answer less, and `integrity`, service workers and import maps
   * have an address that answers. Which version it is stands in Content-Location.
   */
  app.get<{ Querystring: Query }>(
    '/sdk/millrace.js',
    { ...asHead, schema: SDK_CALLS.chosen },
    async ({ query, headers }, reply) => {
      const { release } = await releaseFor(releases, askingOf(query));
      void reply.header('content-location', urlOf(release.version));
      return script(reply, release, { headers, cache: FOR_NOW });
    },
  );

  app.get<{ Querystring: Query }>(
    '/sdk/manifest.json',
    { ...asHead, schema: SDK_CALLS.manifest },
    async ({ query, headers }, reply) => {
      const manifest = JSON.stringify(await manifestOf(releases, askingOf(query)));
      return short(reply.type('application/json'), manifest, headers);
    },
  );

  app.get<{ Querystring: Query }>(
    '/sdk/manifest.jws',
    { ...asHead, schema: SDK_CALLS.signed },
    async ({ query, headers }, reply) => {
      const signed = await signManifest(await manifestOf(releases, askingOf(query)), tokens.keys, clock.now());
      return short(reply.type('application/jose'), signed, headers);
    },
  );

  async function script(
    reply: FastifyReply,
    release: Release,
    { headers, cache }: { readonly headers: Headers; readonly cache: string },
  ): Promise<FastifyReply> {
    const etag = `W/"${release.sha384.slice(0, 22)}"`;
    void reply.headers({ ...FOR_PAGES, 'cache-control': cache, etag, vary: 'accept-encoding' });
    if (isKnown(headers['if-none-match'], etag)) return reply.code(304).send();
    const encoding = encodingFor(headers['accept-encoding']);
    if (encoding !== undefined) void reply.header('content-encoding', encoding);
    void reply.header('millrace-sdk-integrity', integrityOf(release));
    return reply.type('text/javascript; charset=utf-8').send(await bytesOf(release)(encoding));
  }

  function bytesOf({ version, code }: Release): ReturnType<typeof createCompressed> {
    return compressed.getOrInsertComputed(version, () => createCompressed(Buffer.from(code)));
  }

  function short(reply: FastifyReply, body: string, headers: Headers): FastifyReply {
    const etag = `"${hash('sha256', body, 'base64url').slice(0, 22)}"`;
    void reply.headers({ ...FOR_PAGES, 'cache-control': FOR_NOW, etag });
    return isKnown(headers['if-none-match'], etag) ? reply.code(304).send() : reply.send(body);
  }

  /** An app that is not there gets what one without a rule gets: which there are is nobody's to find out here. */
  function askingOf({ app: id, client, environment = FIRST_ENVIRONMENT }: Query): Asking | undefined {
    if (id === undefined) return undefined;
    const rule = apps.get(placeOf({ environment, id }))?.value.sdk ?? {};
    return { rule, client: client === undefined ? undefined : { environment, app: id, client } };
  }

  async function noVersion(version: string): Promise<Problem> {
    const all = await releases.all();
    return new Problem('not_found', `there is no version '${version.slice(0, 80)}' of the SDK here`, {
      advice: `There are: ${all.map((one) => one.version).join(', ')}.`,
    });
  }
}

interface Headers {
  readonly 'if-none-match'?: string | undefined;
  readonly 'accept-encoding'?: string | string[] | undefined;
}
