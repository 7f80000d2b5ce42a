/** What of the suites this driver does not show: behaviour title → why. Printed in the tables of README.md. */
const ONE_NODE = 'the files belong to one process';

const REMEMBERS = 'it remembers keys for any window';

export const LOG_GAPS: Readonly<Record<string, string>> = {
  'appends every entry, whatever its key': 'it dedupes',
  'names the key of each record, digested with whose it is': REMEMBERS,
  'names it in what lies further back, and where it is fetched': REMEMBERS,
};

export const STORE_GAPS: Readonly<Record<string, string>> = {
  'tells of what other nodes change': ONE_NODE,
  'shows a change to every node once it is answered': ONE_NODE,
  'shows a commit to every node once it is answered': ONE_NODE,
  'shows a claim, and what came of it, to every node once it is answered': ONE_NODE,
};
