/** Why a token is refused: each a code of its own where a client does something else about it. */
import { Problem } from '@millrace/core/problem';
import { TOKEN_ALGORITHM, TOKEN_TYPE } from '@millrace/core/token';
import { decodeProtectedHeader, errors } from 'jose';

/** Before anything is verified; what it says chooses nothing but which of our keys to try. */
export function headerOf(text: string): { readonly kid: string } {
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(text);
  } catch {
    throw notOurs('it is no JWT');
  }
  const { alg, typ, kid } = header;
  if (alg !== TOKEN_ALGORITHM) throw notOurs('it is signed in another way');
  // jose compares it as a media type, in any case and with "application/" before it.
  if (typ !== TOKEN_TYPE) throw notOurs('it is a JWT of another type');
  if (typeof kid !== 'string') throw notOurs('it does not say which key signed it');
  return { kid };
}

/** What a library says of a token, as a problem; anything else stays what it is. */
export function problemOf(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) return expired();
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud')
    return new Problem('token_audience', 'the token was made for another audience than this gateway', {
      advice: 'Make one without an audience: POST /v1/tokens.',
    });
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf' && error.reason === 'check_failed')
    return notOurs('it is not valid yet: the clocks here and where it was made are apart');
  // Of a signature that is wrong nothing more is told.
  if (error instanceof errors.JOSEError) return notOurs('its signature or its claims are wrong');
  return error;
}

export function expired(): Problem {
  return new Problem('token_expired', 'the token has expired', { advice: 'Get a new one from the backend of the app.' });
}

export function unknownKey(): Problem {
  return new Problem('token_key_unknown', 'the key that signed the token does not count, or not any more', {
    advice: 'Get a new token from the backend of the app.',
  });
}

export function revoked(why: string): Problem {
  return new Problem('token_revoked', why, { advice: 'Ask the backend of the app whether it makes another one.' });
}

export function notOurs(why: string): Problem {
  return new Problem('unauthorized', `the token is none of this gateway: ${why}`, {
    advice: 'Send the header "Authorization: Bearer …" with a token of POST /v1/tokens, or a key.',
  });
}
