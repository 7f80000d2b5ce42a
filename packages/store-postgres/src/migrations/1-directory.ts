/**
 * What is configured, and how it changed.
 *
 * `directory_clock` is one row: whoever changes something holds it until the commit, so changes become visible in the order
 * of their numbers, without holes, and a node that has seen number n has missed nothing before it. (With a sequence, a
 * change could appear behind one that a node has passed already.) `changes` holds the values of a day: a watcher is told of
 * each change, also of what was changed again or deleted meanwhile. A token is chance: after a failover to a standby that
 * lagged behind, the same number means another change, and that can be seen.
 *
 * Ids compare by their bytes (COLLATE "C"). Values are text: jsonb would lose the order of members, the form of numbers and
 * U+0000, and json has a bound on depth.
 */
export const directory = (schema: string): string => `
  CREATE TABLE ${schema}.directory (
    kind text COLLATE "C" NOT NULL, environment text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
    version bigint NOT NULL, value text NOT NULL,
    PRIMARY KEY (kind, environment, id)
  );
  CREATE TABLE ${schema}.directory_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), seq bigint NOT NULL, token text NOT NULL
  ) WITH (fillfactor = 50);
  INSERT INTO ${schema}.directory_clock (seq, token) VALUES (0, '');
  CREATE TABLE ${schema}.changes (
    seq bigint PRIMARY KEY, token text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL, environment text NOT NULL, id text NOT NULL, version bigint NOT NULL, value text
  );
`;
