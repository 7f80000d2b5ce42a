/** The OpenAPI document, made from the routes that the door has. */
import type { RouteOptions } from 'fastify';
import { INFO, TAGS } from './about.ts';
import { answersOf, contentOf, type Making } from './answers.ts';
import type { Asked } from './codes.ts';
import { COMPONENTS } from './components.ts';
import { parametersOf } from './parameters.ts';
import { createShow, type Show } from './showing.ts';
import type { Call } from './types.ts';
import { WEBHOOK } from './webhook.ts';

const SECURITY = {
  key: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'mr_…',
    description: 'A key of this gateway. It has scopes, and may be for some topics only.',
  },
  token: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'A short-lived token of `POST /v1/tokens`.',
  },
  signature: {
    type: 'http',
    scheme: 'Signature',
    description:
      'What a key that signs begins with, `mrs_` and eight characters; the signature is in `webhook-id`, `webhook-timestamp` and `webhook-signature`.',
  },
};

/** Everything in it follows from the routes: two gateways of one version with the same routes have the same document. */
export function documentOf({ version, routes }: { readonly version: string; readonly routes: readonly RouteOptions[] }): object {
  const { show, schemas } = createShow(COMPONENTS);
  const making: Making = { show, responses: {} };
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes.filter(({ config }) => config?.undescribed !== true)) {
    const path = route.url.replaceAll(/:(\w+)/g, '{$1}');
    // HEAD answers as GET does, but for the body.
    for (const method of [route.method].flat().filter((one) => one !== 'HEAD'))
      (paths[path] ??= {})[method.toLowerCase()] = operationOf(
        {
          method,
          path,
          call: callOf(route),
          allow: route.config?.allow,
          takes: route.config?.takes,
          signed: route.config?.signed,
        },
        making,
      );
  }
  const byName = Object.entries(making.responses).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return {
    openapi: '3.1.0',
    info: { ...INFO, version },
    servers: [{ url: '/' }],
    tags: TAGS,
    paths,
    webhooks: { delivery: { post: WEBHOOK } },
    components: { securitySchemes: SECURITY, schemas: schemas(), responses: Object.fromEntries(byName) },
  };
}

/** Throws for a route that nobody described: the next one to add a route learns of it in every test of the door. */
function callOf({ method, url, schema }: RouteOptions): Call {
  if (schema?.operationId === undefined) throw new Error(`the route ${[method].flat().join()} ${url} does not say what it is`);
  return schema as Call;
}

function operationOf(asked: Asked, making: Making): object {
  const { operationId, tag, summary, description } = asked.call;
  const parameters = parametersOf(asked, making.show);
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(asked),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...bodyOf(asked.call, making.show),
    responses: answersOf(asked, making),
  };
}

/** One of these scopes is enough, and `admin` always is. */
function securityOf({ allow = [], takes, signed = false }: Asked): object[] {
  return [
    ...[...new Set(allow.length === 0 ? [] : [...allow, 'admin'])].map((scope) => ({ key: [scope] })),
    ...(takes === 'tokens' ? allow.map((scope) => ({ token: [scope] })) : []),
    ...(signed ? allow.map((scope) => ({ signature: [scope] })) : []),
  ];
}

function bodyOf({ body, takes }: Call, show: Show): { readonly requestBody?: object } {
  if (takes !== undefined) return { requestBody: { content: contentOf(takes, show) } };
  if (body === undefined) return {};
  const [example] = (body['examples'] ?? []) as readonly unknown[];
  const media = { schema: show(body), ...(example === undefined ? {} : { example }) };
  const isRequired = ((body['required'] ?? []) as readonly string[]).length > 0;
  return { requestBody: { ...(isRequired ? { required: true } : {}), content: { 'application/json': media } } };
}
