/** The document as docs/api.md reads it. */
export interface Shown {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Shown>>;
  readonly required?: readonly string[];
  readonly items?: Shown;
  readonly anyOf?: readonly Shown[];
  readonly oneOf?: readonly Shown[];
  readonly allOf?: readonly Shown[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
}

export type ShownSchemas = Readonly<Record<string, Shown>>;

export interface ShownParameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly description: string;
  readonly schema: Shown;
}

export interface ShownExample {
  readonly summary: string;
  readonly value: unknown;
  readonly 'x-headers'?: Readonly<Record<string, string>>;
}

export interface ShownMedia {
  readonly schema: Shown;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, ShownExample>>;
}

export interface ShownAnswer {
  readonly $ref?: string;
  readonly description: string;
  readonly headers?: Readonly<Record<string, object>>;
  readonly content?: Readonly<Record<string, ShownMedia>>;
}

export interface ShownOperation {
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly security: readonly { readonly key?: readonly string[]; readonly token?: readonly string[] }[];
  readonly parameters?: readonly ShownParameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, ShownMedia>> };
  readonly responses: Readonly<Record<string, ShownAnswer>>;
}

export interface ShownCall {
  readonly method: string;
  readonly path: string;
  readonly operation: ShownOperation;
}

export interface ShownDocument {
  readonly info: { readonly title: string; readonly summary: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, ShownOperation>>>>;
  readonly components: {
    readonly schemas: ShownSchemas;
    readonly responses: Readonly<Record<string, ShownAnswer>>;
  };
}
