/** The rules for CloudEvents attributes (CloudEvents 1.0.2, sections "Naming Conventions", "Type System", "Context Attributes"). */
import type { EventDraft } from './draft.ts';
import { type AttributeValue, type Event, hasJsonData } from './event.ts';
import { didYouMean } from './near-miss.ts';
import { Problem } from './problem.ts';

/** 1.0.2 says SHOULD for the 20; longer names do not survive every broker's headers. */
const NAME = /^[a-z0-9]{1,20}$/;
/** Names that are part of the format or the protocol and so can be no extension. */
const TAKEN = new Set(['data', 'specversion']);
const CORE = new Set(['id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'dataschema']);
/** Members of an event that CloudEvents and Millrace know: what is written beside them is an extension of one's own, or was meant as one of them. */
export const KNOWN_NAMES: ReadonlySet<string> = new Set(
  (
    'data data_base64 id source type subject time datacontenttype dataschema specversion headers webhookheaders ' +
    'partitionkey audience sequence traceparent tracestate dataref schemaversion expirytime dataregion'
  ).split(' '),
);
/** RFC 9110, section 8.3.1, without folding. */
const MEDIA_TYPE =
  /^[!#$%&'*+.^_`|~\w-]+\/[!#$%&'*+.^_`|~\w-]+(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~\w-]+=(?:[!#$%&'*+.^_`|~\w-]+|"[ !#-[\]-~]*"))*[ \t]*;?$/;
/** As much as all attributes of an event may take in the headers of brokers: what is longer is not looked at. */
export const ATTRIBUTE_CHARS_MAX = 16_384;
/** What the type String leaves out: control characters and noncharacters. Lone surrogates are tested apart. */
const FORBIDDEN = /[\p{Cc}\p{Noncharacter_Code_Point}]/u;

/** Collects attributes into a draft. `nameOf` says how a fault names an attribute to whoever sent it. */
export function startDraft(pointerOf: (name: string) => string): DraftWriter {
  const core: Record<string, AttributeValue> = {};
  const extensions: [string, AttributeValue][] = [];
  let chars = 0;
  const refused = (name: string, message: string) => new Problem('invalid_event', message, { pointer: pointerOf(name) });
  return {
    set(name, value) {
      if (!NAME.test(name) || TAKEN.has(name)) {
        throw refused(name, `'${name.slice(0, 40)}' is no attribute name: 1 to 20 lower-case letters and digits${meantBy(name)}`);
      }
      chars += name.length + (typeof value === 'string' ? value.length : 1);
      if (chars > ATTRIBUTE_CHARS_MAX) throw tooLong(chars, pointerOf(name));
      const fault = faultOf(name, value);
      if (fault !== undefined) throw refused(name, `the attribute '${name}' ${fault}`);
      if (CORE.has(name)) core[name] = value as string;
      else extensions.push([name, value as AttributeValue]);
    },
    end(data) {
      if (core['type'] === undefined) throw refused('type', "the attribute 'type' is missing");
      return {
        ...(core as { type: string }),
        ...(extensions.length === 0 ? {} : { extensions: Object.fromEntries(extensions) }),
        ...(data === undefined ? {} : { data }),
      };
    },
  };
}

/** CloudEvents has no capitals in names, where most JSON has. */
function meantBy(name: string): string {
  const plain = name.slice(0, 40).toLowerCase().replaceAll(/[-_]/g, '');
  if (plain !== name && NAME.test(plain) && !TAKEN.has(plain)) return ` (did you mean '${plain}'?)`;
  return didYouMean(KNOWN_NAMES, name);
}

export interface DraftWriter {
  /** Throws `invalid_event` with a pointer where name or value is none, `payload_too_large` where the value is too long. */
  set(name: string, value: unknown): void;
  end(data: Uint8Array | undefined): EventDraft;
}

function tooLong(chars: number, pointer: string): Problem {
  return new Problem(
    'payload_too_large',
    `the attributes of an event have at most ${ATTRIBUTE_CHARS_MAX} characters, up to this one there are ${chars}`,
    { pointer },
  );
}

/** What is wrong with a value, as the rest of a sentence that begins with the attribute. */
function faultOf(name: string, value: unknown): string | undefined {
  if (!CORE.has(name)) {
    if (typeof value === 'boolean') return undefined;
    if (typeof value === 'number') return (value | 0) === value ? undefined : 'is a number but no 32-bit integer';
  }
  if (typeof value !== 'string')
    return CORE.has(name) ? 'must be a string' : `must be a string, an integer or a boolean${payloadMeantBy(name, value)}`;
  if (!value.isWellFormed() || FORBIDDEN.test(value)) return 'holds a control character or half of a character';
  if (!CORE.has(name)) return undefined;
  if (value === '') return 'must not be empty';
  if (name === 'time' && !isTimestamp(value)) return 'must be a time such as 2026-11-23T17:20:00Z (RFC 3339)';
  if (name === 'datacontenttype' && !MEDIA_TYPE.test(value)) return 'must be a media type such as application/json';
  return undefined;
}

/** An object is no attribute: `dta` with one was meant as `data`. */
function payloadMeantBy(name: string, value: unknown): string {
  return typeof value === 'object' ? didYouMean(KNOWN_NAMES, name) : '';
}

/** True where a payload of this content type is JSON. It looks at nothing else of an event. */
export function isJsonType(contentType: string): boolean {
  return hasJsonData({ datacontenttype: contentType } as Event);
}

const TIMESTAMP = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d{1,18})?(?:[Zz]|[+-](\d\d):(\d\d))$/;

/** RFC 3339, section 5.6, days of the month and leap seconds included. */
export function isTimestamp(text: string): boolean {
  const match = TIMESTAMP.exec(text);
  if (match === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, zoneHour = 0, zoneMinute = 0] = match
    .slice(1)
    .map((digits) => Number(digits ?? 0));
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= days && hour <= 23 && minute <= 59 && second <= 60 && zoneHour <= 23 && zoneMinute <= 59;
}
