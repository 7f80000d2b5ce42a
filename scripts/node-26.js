// Loaded before every script of this folder, and plain JavaScript: a Node that can't read TypeScript must get far enough
// to say what to do, instead of ERR_UNKNOWN_FILE_EXTENSION.
if (Number.parseInt(process.versions.node, 10) < 26) {
  process.stderr.write(
    `This needs Node 26 and was started by ${process.version}: start it through npm (npm test, npm run check), which puts the ` +
      'npm package "node" first; if that is what you did, its install script was skipped: run "npm rebuild node".\n',
  );
  process.exit(1);
}
