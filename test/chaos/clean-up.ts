/** What must not outlive this process: gateways, mounts. Undone in reverse at its end, whatever ends it. */

type Undo = () => void;

const undone: Undo[] = [];

process.on('exit', () => {
  for (const undo of undone.toReversed()) undo();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

/** `undo` is synchronous. Call what is returned once it is not needed any more. */
export function atEnd(undo: Undo): () => void {
  undone.push(undo);
  return () => {
    const at = undone.indexOf(undo);
    if (at >= 0) undone.splice(at, 1);
  };
}
