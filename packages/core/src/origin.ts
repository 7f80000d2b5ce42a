/**
 * Origins of web pages, as browsers write them in the header `Origin`: scheme, host in lower case, port where it is not the usual
 * one. They are compared as text, character by character: nothing is parsed that a name or a path could be hidden in.
 */
import { Problem } from './problem.ts';

const ORIGIN = /^(https?):\/\/(\*\.)?((?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?$/;
const USUAL: Readonly<Record<string, string>> = { http: '80', https: '443' };
const LABEL = /^[a-z0-9_-]+$/;

/** Throws `invalid_request` unless it is an origin, or with `*.` before a domain one for each of its direct subdomains. */
export function checkOriginPattern(text: unknown, pointer: string): asserts text is string {
  const [, scheme = '', wildcard, host = '', port] = (typeof text === 'string' && ORIGIN.exec(text)) || [];
  if (scheme === '' || String(text).length > 255)
    throw refused(`'${String(text).slice(0, 80)}' is no origin as browsers send it`, pointer);
  if (port === USUAL[scheme]) throw refused(`the port ${port} is the usual one of ${scheme}: browsers leave it out`, pointer);
  if (wildcard !== undefined && (!host.includes('.') || /\.\d+$/.test(host)))
    throw refused("'*.' stands before a domain of its own, such as *.example.com", pointer);
}

/** Whether one of the patterns means the origin, which is the header as it came. */
export function isOriginAmong(patterns: readonly string[], origin: string): boolean {
  return patterns.some((pattern) => pattern === origin || isSubdomainOf(pattern, origin));
}

/** `*` is one label, as in certificates. */
function isSubdomainOf(pattern: string, origin: string): boolean {
  const [scheme = '', domain] = pattern.split('*');
  if (domain === undefined || !origin.startsWith(scheme) || !origin.endsWith(domain)) return false;
  return LABEL.test(origin.slice(scheme.length, origin.length - domain.length));
}

function refused(why: string, pointer: string): Problem {
  return new Problem('invalid_request', why, {
    pointer,
    advice: 'Write https://app.example.com, http://localhost:5173, or https://*.example.com for all direct subdomains.',
  });
}
