/** What of the suites this driver does not show: behaviour title → why. Printed in the tables of README.md. */
const ONE_NODE = 'the files belong to one process';

export const LOG_GAPS: Readonly<Record<string, string>> = { 'appends every entry, whatever its key': 'it dedupes' };

export const STORE_GAPS: Readonly<Record<string, string>> = {
  'tells of what other nodes change': ONE_NODE,
  'shows a change to every node once it is answered': ONE_NODE,
  'shows a commit to every node once it is answered': ONE_NODE,
};
