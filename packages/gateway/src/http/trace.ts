/** The trace that a request belongs to, by its headers. */
import type { FastifyRequest } from 'fastify';
import { parseTrace, type TraceContext } from '@millrace/core/trace';

export function traceOf({ headers }: FastifyRequest): TraceContext | undefined {
  const { traceparent, tracestate } = headers;
  // Several of the first are none (Trace Context, 3.2.1); several of the second are one list (3.3.1).
  if (typeof traceparent !== 'string') return undefined;
  return parseTrace(traceparent, Array.isArray(tracestate) ? tracestate.join(',') : tracestate);
}
