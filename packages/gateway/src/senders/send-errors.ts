/** What went wrong on a connection, as one of the sender's few stable codes. Node and undici know a hundred. */
import type { SendError } from '../ports/sender.ts';

const BY_CODE: Readonly<Record<string, SendError>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EAI_FAIL: 'dns',
  EAI_NODATA: 'dns',
  EAI_NONAME: 'dns',
  ENODATA: 'dns',
  ESERVFAIL: 'dns',
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  EACCES: 'unreachable',
  EPERM: 'unreachable',
  EINVAL: 'unreachable',
  // Our own end: no descriptors left. Nothing was reached, and many endpoints fail at once, which the lanes notice.
  EMFILE: 'unreachable',
  ENFILE: 'unreachable',
  // Ours, of connect.ts.
  blocked_address: 'blocked_address',
  UND_ERR_CONNECT_TIMEOUT: 'connect_timeout',
  EPROTO: 'tls',
  ECONNRESET: 'reset',
  ECONNABORTED: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  // The answer ended before it was whole: fewer bytes than announced, or no last chunk.
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'reset',
  HPE_INVALID_EOF_STATE: 'reset',
  UND_ERR_HEADERS_OVERFLOW: 'protocol',
  UND_ERR_DESTROYED: 'aborted',
  UND_ERR_CLOSED: 'aborted',
};

/** `started`: a connection stood and the request was being written. Before that, everything unknown is a matter of connecting. */
export function sendErrorOf(
  error: Error,
  { started, secure }: { readonly started: boolean; readonly secure: boolean },
): SendError {
  const code = (error as { readonly code?: unknown }).code;
  const text = typeof code === 'string' ? code : '';
  if (text === 'ETIMEDOUT') return started ? 'timeout' : 'connect_timeout';
  if (/^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_)/.test(text)) return 'tls';
  // undici says of an answer it can't read that the socket is bad.
  if (text === 'UND_ERR_SOCKET' && /^bad (response|upgrade)/.test(error.message)) return 'protocol';
  // Whatever a code is called: what every object has of itself is no kind of error.
  const known = Object.hasOwn(BY_CODE, text) ? BY_CODE[text] : undefined;
  if (known === 'reset' && !started && secure) return 'tls';
  if (known !== undefined) return known;
  if (!started) return secure ? 'tls' : 'unreachable';
  return 'protocol';
}
