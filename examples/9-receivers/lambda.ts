/**
 * A receiver on AWS Lambda, behind a function URL or an HTTP API (payload format 2.0):
 *
 *   export const handler = onLambda(receiver({ secrets, store, handle }));
 *
 * The format: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html and
 * https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html: header names in lower case, headers that came twice joined by commas, cookies apart,
 * and a body in base64 where `isBase64Encoded` says so.
 */
import type { Receiver } from '../../sdk/js/millrace.ts';

/** As much of it as is used. */
export interface LambdaEvent {
  readonly version: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly requestContext: { readonly http?: { readonly method: string } };
  readonly body?: string | undefined;
  readonly isBase64Encoded: boolean;
}

export interface LambdaAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Lambda has no `waitUntil`: what runs when the handler resolves is frozen with its sandbox. So `ack: 'first'` is answered after the work here, too, and
 * gains nothing; with `ack: 'after'`, the default, the function's timeout has to be below the subscription's `timeoutMs`.
 */
export function onLambda(receive: Receiver): (event: LambdaEvent) => Promise<LambdaAnswer> {
  return async (event) => {
    const works: Promise<unknown>[] = [];
    const response = await receive(requestOf(event), { waitUntil: (work) => void works.push(work) });
    await Promise.all(works);
    return { statusCode: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
  };
}

function requestOf({ version, headers, requestContext, body, isBase64Encoded }: LambdaEvent): Request {
  const method = requestContext.http?.method;
  if (method === undefined)
    throw new Error(`this takes events of the payload format 2.0, and this is one of ${version || 'a load balancer'}`);
  const pairs = Object.entries(headers).map(([name, value = '']): [string, string] => [name, value]);
  // The receiver does not look at the address.
  const init = { method, headers: pairs };
  if (body === undefined || method === 'GET' || method === 'HEAD') return new Request('https://lambda.invalid/', init);
  return new Request('https://lambda.invalid/', { ...init, body: Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8') });
}
