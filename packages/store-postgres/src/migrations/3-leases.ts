/**
 * Which node owns which slot. A node has one lease, for all its slots, that ends by the clock of Postgres. A slot names its
 * owner and an epoch, a number that grows and a token that is chance: after a failover to a standby that lagged behind, a
 * number can be given twice.
 *
 * `fence` is the first step of a commit: it fails unless all slots are at the epochs named, and until the commit is through
 * nobody can take one of them.
 */
export const leases = (schema: string): string => `
  CREATE TABLE ${schema}.nodes (
    node text COLLATE "C" PRIMARY KEY, token text NOT NULL, expires_at timestamptz NOT NULL,
    load double precision NOT NULL, address text NOT NULL
  ) WITH (fillfactor = 50);
  CREATE TABLE ${schema}.slots (
    slot bigint PRIMARY KEY, owner text COLLATE "C", owner_token text, epoch bigint NOT NULL DEFAULT 0, token text NOT NULL DEFAULT ''
  ) WITH (fillfactor = 50);
  INSERT INTO ${schema}.slots (slot) SELECT generate_series(0, 127);

  CREATE FUNCTION ${schema}.fence(wanted bigint[], epochs bigint[], tokens text[]) RETURNS void LANGUAGE plpgsql AS $body$
  DECLARE
    stale bigint;
  BEGIN
    PERFORM 1 FROM ${schema}.slots s WHERE s.slot = ANY (wanted) ORDER BY s.slot FOR SHARE;
    SELECT f.slot INTO stale FROM unnest(wanted, epochs, tokens) AS f (slot, epoch, token)
      LEFT JOIN ${schema}.slots s ON s.slot = f.slot AND s.epoch = f.epoch AND s.token = f.token
      WHERE s.slot IS NULL LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'Slot % is at another epoch: another node has taken it', stale USING ERRCODE = 'MR001';
    END IF;
  END
  $body$;
`;
