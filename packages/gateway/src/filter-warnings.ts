/** Filters that are allowed, and hardly ever what was meant: they would match nothing without a word. */
import { OPERATOR_NAMES } from '@millrace/core/filter';

/** CloudEvents 1.0.2 and the extensions that are used here; any other may be somebody's own. */
const ATTRIBUTES: ReadonlySet<string> = new Set(
  'id source specversion type datacontenttype dataschema subject time audience partitionkey dataref traceparent tracestate schemaversion expirytime sequence dataregion webhookheaders'.split(
    ' ',
  ),
);

export function filterWarnings(filter: unknown): string[] {
  if (!isObject(filter)) return [];
  const unknown = Object.keys(filter).filter((name) => name !== 'data' && name !== '$or' && !ATTRIBUTES.has(name));
  return [
    ...unknown.map(
      (name) => `the filter asks for the attribute '${name}'; if it is a field of the payload, it stands under data`,
    ),
    ...operatorsAsFields(filter['data'], 'data'),
  ];
}

/** `{"amount": {"numeric": [">", 100]}}` asks for a field called numeric. */
function operatorsAsFields(value: unknown, path: string): string[] {
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, below]) =>
    OPERATOR_NAMES.has(name)
      ? [
          `the filter asks for a field '${path}.${name}'; if ${name} is meant as an operator, it stands in a list: [{"${name}": …}]`,
        ]
      : operatorsAsFields(below, `${path}.${name}`),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
