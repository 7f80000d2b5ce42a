/** Base64 (RFC 4648, section 4) with padding, by Web APIs only. */

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Arguments of one call are bounded by the engines; this many is safe in all of them. */
const CHUNK_BYTES = 8192;

export function encodeBase64(bytes: Uint8Array): string {
  let latin = '';
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) latin += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES));
  return btoa(latin);
}

/** Undefined where `text` is not base64: unlike `atob` it takes no white space and no missing padding. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 !== 0 || !BASE64.test(text)) return undefined;
  const latin = atob(text);
  const bytes = new Uint8Array(latin.length);
  for (let at = 0; at < latin.length; at += 1) bytes[at] = latin.charCodeAt(at);
  return bytes;
}
