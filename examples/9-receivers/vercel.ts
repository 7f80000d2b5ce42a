/**
 * A receiver on Vercel Functions, as `api/hooks.ts`:
 *
 *   import { waitUntil } from '@vercel/functions';
 *   export default onVercel(receiver({ secrets, store, handle, ack: 'first', gateways }), waitUntil);
 *
 * A default export with `fetch` takes web-standard requests, and `waitUntil` keeps the function alive for work after the answer, up to its time limit:
 * https://vercel.com/docs/functions/functions-api-reference/vercel-functions-package. The same page recommends `after` of next/server for Next.js
 * 15.1 and newer: in `app/hooks/route.ts`
 *
 *   const { fetch } = onVercel(receiver({ … }), (work) => after(() => work));
 *   export { fetch as GET, fetch as HEAD, fetch as OPTIONS, fetch as POST };
 */
import type { Receiver } from '../../sdk/js/millrace.ts';

export function onVercel(
  receive: Receiver,
  waitUntil: (work: Promise<unknown>) => void,
): { fetch(request: Request): Promise<Response> } {
  return { fetch: (request) => receive(request, { waitUntil }) };
}
