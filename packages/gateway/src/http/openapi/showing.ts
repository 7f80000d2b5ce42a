/** Schemas of the door as the document shows them. */
import type { Schema } from './types.ts';

export interface Show {
  (schema: Schema): Schema;
}

/** `components`: schemas with a name, which stands in their place. */
export function createShow(components: Readonly<Record<string, Schema>>): {
  readonly show: Show;
  readonly schemas: () => Readonly<Record<string, Schema>>;
} {
  const names = new Map(Object.entries(components).map(([name, schema]) => [schema, name]));

  const show: Show = (schema) => {
    const name = names.get(schema);
    return name === undefined ? inFull(schema) : { $ref: `#/components/schemas/${name}` };
  };

  function inFull(schema: Schema): Schema {
    const { means, type, ...rest } = schema;
    if (typeof means === 'object') return inFull({ ...means, ...withoutShape(rest) });
    return Object.fromEntries(Object.entries(type === undefined ? rest : { type, ...rest }).flatMap(shownPart));
  }

  /** Only where a schema may stand: an example is shown as it is. */
  function shownPart([keyword, value]: readonly [string, unknown]): readonly (readonly [string, unknown])[] {
    switch (keyword) {
      case 'properties':
        return [[keyword, propertiesOf(value as Readonly<Record<string, Schema>>)]];
      case 'items':
      case 'additionalProperties':
        return [[keyword, typeof value === 'object' ? show(value as Schema) : value]];
      case 'anyOf':
      case 'oneOf':
      case 'allOf':
        return [[keyword, (value as readonly Schema[]).map(show)]];
      default:
        return [[keyword, value]];
    }
  }

  function propertiesOf(properties: Readonly<Record<string, Schema>>): Readonly<Record<string, Schema>> {
    const shown = Object.entries(properties).filter(([, schema]) => schema['means'] !== false && !isLater(schema));
    return Object.fromEntries(shown.map(([name, schema]) => [name, show(schema)]));
  }

  return {
    show,
    schemas: () => Object.fromEntries(Object.entries(components).map(([name, schema]) => [name, inFull(schema)])),
  };
}

/** What `means` takes the place of; words about the schema stay. */
function withoutShape(schema: Schema): Schema {
  const words = Object.entries(schema).filter(([name]) => ['description', 'default', 'examples'].includes(name));
  return Object.fromEntries(words);
}

/** Planned, and refused as such. */
export function isLater(schema: Schema): boolean {
  return 'not' in schema;
}
