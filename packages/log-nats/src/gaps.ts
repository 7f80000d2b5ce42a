/** What of the suite for logs this driver does not show: behaviour title → why. Printed in the table of README.md. */
const OWN_TIME = 'the broker looks for a time among its own stamps, which the suite can not set; shown in times.slow.test.ts';

export const GAPS: Readonly<Record<string, string>> = {
  'finds a place before, between, at and after the events of a shard by time': OWN_TIME,
  'finds the first of several events of one time': OWN_TIME,
  'finds a time among events of one call': OWN_TIME,
  'finds a place by time across a clock that was set back': OWN_TIME,
  'finds the end for a time in the future': OWN_TIME,
  'finds the end for a time in the future where retention emptied the shard': OWN_TIME,
  'appends every entry, whatever its key': 'it dedupes',
};
