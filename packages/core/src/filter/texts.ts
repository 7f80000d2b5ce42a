/** What a list asks of texts, all its entries together: a text is folded once for all of them, and no further than they need. */
import { ADDRESS_CHARS_MAX, type Block, blockHolds, parseAddress } from './cidr.ts';
import { comparingSteps, endsWith, foldCase, foldHead, foldTail, startsWith } from './text.ts';
import { spend, type Work } from './work.ts';

/** One entry. `part` of those that ignore case is folded. */
export type TextTest =
  | { readonly kind: 'prefix' | 'suffix' | 'folded' | 'folded-prefix' | 'folded-suffix'; readonly part: string }
  | { readonly kind: 'wildcard'; readonly holds: Ask }
  | { readonly kind: 'cidr'; readonly block: Block };

type Ask = (text: string, work: Work) => boolean;

/** True where one of them holds. */
export function anyOfTexts(tests: readonly TextTest[]): Ask {
  const asks = [
    ...parts(tests, 'prefix', affixes(startsWith)),
    ...parts(tests, 'suffix', affixes(endsWith)),
    ...parts(tests, 'folded', wholes),
    ...parts(tests, 'folded-prefix', affixes(startsWith, foldHead)),
    ...parts(tests, 'folded-suffix', affixes(endsWith, foldTail)),
    ...blocks(tests.flatMap((test) => (test.kind === 'cidr' ? [test.block] : []))),
    ...tests.flatMap((test) => (test.kind === 'wildcard' ? [test.holds] : [])),
  ];
  const [only] = asks;
  if (asks.length === 1 && only !== undefined) return only;
  return (text, work) => asks.some((ask) => ask(text, work));
}

function parts(
  tests: readonly TextTest[],
  kind: TextTest['kind'],
  compile: (parts: readonly string[], longest: number) => Ask,
): Ask[] {
  const found = tests.flatMap((test) => (test.kind === kind && 'part' in test ? [test.part] : []));
  return found.length === 0 ? [] : [compile(found, Math.max(...found.map((part) => part.length)))];
}

/** `fold`: gives of a text what the longest of the parts needs. */
function affixes(
  holds: (text: string, part: string) => boolean,
  fold: (text: string, length: number, work: Work) => string = (text) => text,
): (parts: readonly string[], longest: number) => Ask {
  return (list, longest) => (whole, work) => {
    const text = fold(whole, longest, work);
    for (const part of list) {
      spend(work, comparingSteps(part));
      if (holds(text, part)) return true;
    }
    return false;
  };
}

function wholes(list: readonly string[], longest: number): Ask {
  const wanted = new Set(list);
  // Folding makes nothing shorter.
  return (text, work) => text.length <= longest && wanted.has(foldCase(text, work));
}

function blocks(list: readonly Block[]): Ask[] {
  if (list.length === 0) return [];
  return [
    (text, work) => {
      if (text.length > ADDRESS_CHARS_MAX) return false;
      // Every group is cut out and looked at on its own: 60 ns for each character of the longest.
      spend(work, 8 + text.length * 3);
      const address = parseAddress(text);
      if (address === undefined) return false;
      spend(work, list.length);
      return list.some((block) => blockHolds(block, address));
    },
  ];
}
