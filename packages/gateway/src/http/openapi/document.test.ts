/** The document is OpenAPI, says what is so, and notices what is not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { world, type World } from '../../../test/world.ts';
import { createJudge, type Document, type Exchange } from './test/contract.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- a document is walked through
type Json = any;

async function documentOf({ app }: World): Promise<Json> {
  const { statusCode, payload } = await app.inject('/openapi.json');
  assert.equal(statusCode, 200, payload);
  return JSON.parse(payload);
}

describe('/openapi.json', { timeout: 30_000 }, () => {
  test('is OpenAPI 3.1 to a validator of somebody else', async (t) => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(await documentOf(await world(t)));
    assert.deepEqual([valid, errors, validator.version], [true, undefined, '3.1']);
  });

  test('holds schemas that are JSON Schema 2020-12 in the strict sense of Ajv, with examples that fit', async (t) => {
    const document = await documentOf(await world(t));
    const ajv = new Ajv2020({ allowUnionTypes: true, strictRequired: false, validateFormats: false });
    ajv.addVocabulary(Object.keys(document));
    ajv.addSchema(document, 'document');
    let examples = 0;
    for (const { at, schema } of schemasIn(document)) {
      const fits = ajv.compile({ $ref: `document#${at}` });
      for (const example of schema.examples ?? []) {
        examples++;
        assert.ok(fits(example), `${at}: ${ajv.errorsText(fits.errors)}`);
      }
    }
    assert.ok(examples > 50, String(examples));
  });

  test('holds examples of bodies that the door takes', async (t) => {
    const made = await world(t);
    for (const { route, headers, body } of requestsIn(await documentOf(made))) {
      // Lines are read from a socket, and here is none: lines.test.ts sends some.
      if (headers['content-type'] === 'application/x-ndjson') continue;
      // An answer that never ends: sse.test.ts opens some.
      if (route === 'POST /v1/sse') continue;
      // It takes the token of one delivery, and no key: deliveries-failed.test.ts has some.
      if (/^POST \/v1\/deliveries\/[^/]+\/failed$/.test(route)) continue;
      const { status, text } = await made.ask(route, { headers, body });
      assert.ok(status < 300 || status === 404, `${route} → ${status} ${text}`);
    }
  });

  test('names every query parameter that there is: no other is taken, whatever the method', async (t) => {
    const made = await world(t);
    const { paths } = await documentOf(made);
    const calls = Object.entries<Json>(paths).flatMap(([path, operations]) =>
      path.startsWith('/v1/') ? Object.keys(operations).map((method) => ({ path, method })) : [],
    );
    assert.ok(calls.length > 30);
    for (const { path, method } of calls) {
      // As above.
      if (path === '/v1/deliveries/{id}/failed') continue;
      const { parameters = [], requestBody } = paths[path][method];
      const needed = parameters.filter((one: Json) => one.in === 'query' && one.required);
      const query = [...needed.map(({ name }: Json) => `${name}=x`), 'colour=red'].join('&');
      const route = `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, 'x')}?${query}`;
      const example = requestBody?.content['application/json']?.example;
      const { status, json } = await made.ask(route, example === undefined ? {} : { json: example });
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', '/query/colour'], route);
    }
  });

  test('names every operation once, and says of each what it needs', async (t) => {
    const { paths } = await documentOf(await world(t));
    const operations: Json[] = Object.values(paths).flatMap((path) => Object.values(path as object));
    assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
    assert.deepEqual(paths['/v1/subscriptions/{id}'].get.security, [
      { key: ['subscribe'] },
      { key: ['manage'] },
      { key: ['admin'] },
    ]);
    assert.deepEqual(paths['/livez'].get.security, []);
    const publishing = [{ key: ['publish'] }, { key: ['admin'] }, { token: ['publish'] }];
    assert.deepEqual(paths['/v1/events'].post.security, [...publishing, { signature: ['publish'] }]);
    assert.deepEqual(paths['/v1/topics/{topic}/events'].post.security, publishing);
    assert.ok(
      operations.every(({ summary, tags, responses }) => summary !== '' && tags.length === 1 && responses['500'] !== undefined),
    );
  });

  test('does not show what is planned, and keeps constants as they are', async (t) => {
    const { components } = await documentOf(await world(t));
    assert.equal(components.schemas.SubscriptionSettings.properties.transform, undefined);
    assert.deepEqual(components.schemas.SubscriptionSettings.properties.breaker.anyOf[0], { const: false });
    assert.ok(!JSON.stringify(components).includes('"means"'));
  });
});

describe('the judge of the tests', { timeout: 30_000 }, () => {
  test('notices what the document does not say', async (t) => {
    const made = await world(t);
    const judge = createJudge((await documentOf(made)) as Document);
    const { status, headers, text } = await made.ask('PUT /v1/topics/a.b');
    const exchange: Exchange = { method: 'PUT', url: '/v1/topics/a.b', status, headers, text };
    const problem = await made.ask('GET /v1/topics/none');
    const refusal: Exchange = { ...exchange, ...problem, method: 'GET', url: '/v1/topics/none' };
    assert.deepEqual([judge(exchange), judge(refusal)], [undefined, undefined]);
    const wrong: [Exchange, RegExp][] = [
      [{ ...exchange, status: 418 }, /the status 418 is not described/],
      [{ ...exchange, text: text.replace('{', '{"more":1,') }, /must NOT have additional properties/],
      [{ ...exchange, text: text.replace('"owner"', '"ower"') }, /must have required property 'owner'/],
      [{ ...exchange, headers: { ...headers, etag: undefined } }, /the header ETag is missing/],
      [{ ...exchange, headers: { ...headers, 'content-type': 'text/plain' } }, /the type text\/plain is not described/],
      [{ ...exchange, sent: { retention: {} } }, /it was taken, but/],
      [{ ...refusal, text: problem.text.replace('"not_found"', '"conflict"') }, /must be equal to one of the allowed values/],
      [{ ...refusal, url: '/v1/none', text: '{}' }, /must have required property/],
    ];
    for (const [one, complaint] of wrong) assert.match(judge(one) ?? '', complaint);
  });
});

/** Wherever OpenAPI has a schema, with its place. */
function schemasIn(document: Json): { readonly at: string; readonly schema: Json }[] {
  const found: { at: string; schema: Json }[] = [];
  const walk = (value: Json, at: string): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, one] of Object.entries(value as object)) {
      const here = `${at}/${encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))}`;
      if (name === 'schema' || at === '/components/schemas' || at.endsWith('/properties')) found.push({ at: here, schema: one });
      if (name !== 'examples' && name !== 'example') walk(one, here);
    }
  };
  walk(document, '');
  return found;
}

/** All examples of requests, addressed to the examples of their paths. */
function requestsIn({
  paths,
}: Json): { readonly route: string; readonly headers: Record<string, string>; readonly body: string }[] {
  const calls = Object.entries(paths as Record<string, Json>).flatMap(([path, operations]) =>
    Object.entries(operations as Record<string, Json>).map(([method, operation]) => ({ path, method, operation })),
  );
  return calls.flatMap(({ path, method, operation }) => {
    const exampleOf = (name: string): string =>
      operation.parameters.find((parameter: Json) => parameter.name === name).schema.examples[0];
    const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => exampleOf(name));
    return Object.entries((operation.requestBody?.content ?? {}) as Record<string, Json>).flatMap(
      ([type, { example, examples = {} }]) =>
        [...(example === undefined ? [] : [{ value: example }]), ...Object.values<Json>(examples)].map((one) => ({
          route: `${method.toUpperCase()} ${url}`,
          headers: one['x-headers'] ?? { 'content-type': type },
          body: typeof one.value === 'string' ? one.value : JSON.stringify(one.value),
        })),
    );
  });
}
