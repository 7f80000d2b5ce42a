/** What a generator can do at most: node:http that answers 202 to everything, a process of its own. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(202, { 'content-length': 0 });
  response.end();
}).listen(0, '127.0.0.1', 1_024, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on('disconnect', () => process.exit());
