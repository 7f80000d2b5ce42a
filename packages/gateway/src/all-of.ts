/** Resources of one kind, all of them, read page by page. */
import type { Directory, Kind, Kinds, Versioned } from './ports/directory.ts';

const PAGE = 500;

export interface From {
  /** All without. */
  readonly environment?: string;
  /** The last one seen; from the first on without. */
  readonly after?: { readonly environment: string; readonly id: string };
}

/** In the directory's order. What changes meanwhile may be seen as it was or as it is; nothing that stays is left out. */
export async function* allOf<K extends Kind>(
  directory: Pick<Directory, 'list'>,
  kind: K,
  { environment, after }: From = {},
): AsyncGenerator<Versioned<Kinds[K]>, void, undefined> {
  const where = environment === undefined ? {} : { environment };
  for (let last = after; ;) {
    const page = await directory.list(kind, { ...where, limit: PAGE, ...(last === undefined ? {} : { after: last }) });
    yield* page;
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    last = { environment: end.environment, id: end.id };
  }
}
