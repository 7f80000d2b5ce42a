/** Everything that can go wrong at the door, as a Problem: the one place that knows Fastify's and Node's errors. */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';

/** Undefined for what nobody expected: that is logged and answered without detail. */
export function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  switch ((error as { readonly code?: unknown } | null)?.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_TYPE':
      return new Problem('unsupported_media_type', 'the body must be JSON', {
        advice: 'Send it with the header "Content-Type: application/json".',
      });
    case 'FST_ERR_BAD_URL':
      return new Problem('invalid_request', 'the address is not valid percent-encoding', {
        advice: 'Write each % of the address as %25, and other signs as encodeURIComponent does.',
      });
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new Problem('not_found', 'no name in an address is that long');
    default:
      return undefined;
  }
}

/** What Node's HTTP parser refuses, before there is a request. Undefined: the connection is gone, there is nobody to answer. */
export function problemOfConnection(error: Error, limits: Limits): Problem | undefined {
  switch ((error as { readonly code?: unknown }).code) {
    case 'ECONNRESET':
      return undefined;
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('headers_too_large', `address and headers together have more than ${limits.headerBytes} bytes`);
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('request_timeout', `the headers did not arrive within ${limits.headersMs / 1000} s`);
    default:
      return new Problem('invalid_request', 'this is not HTTP/1.1', {
        advice: "Speak HTTP/1.1 in the clear to this port: TLS and HTTP/2 are a reverse proxy's.",
      });
  }
}
