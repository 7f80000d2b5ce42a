/**
 * A commit that its writer gave up (no answer in time) may still be on its way, held up by a proxy, and arrive behind newer ones.
 * So every try of a writer has a number that grows, and `in_turn`, after the fence, refuses one that a later try has overtaken.
 * A table of its own: the rows of nodes and slots are waited for by renewals and by who takes slots.
 */
export const turns = (schema: string): string => `
  CREATE TABLE ${schema}.writers (
    writer text COLLATE "C" PRIMARY KEY, number bigint NOT NULL, at timestamptz NOT NULL DEFAULT now()
  ) WITH (fillfactor = 50);

  CREATE FUNCTION ${schema}.in_turn(who text, turn bigint) RETURNS void LANGUAGE plpgsql AS $body$
  BEGIN
    INSERT INTO ${schema}.writers AS w (writer, number) VALUES (who, turn)
      ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = now() WHERE w.number < excluded.number;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'Commit % comes behind a later one of its writer', turn USING ERRCODE = 'MR002';
    END IF;
  END
  $body$;
`;
