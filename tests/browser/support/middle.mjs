/**
 * What stands in the way in some networks, run on the router by the connect matrix.
 *
 *   node middle.mjs proxy PORT             an HTTP proxy that knows CONNECT to port 443 and nothing else
 *   node middle.mjs inspect PORT HOST      passes connections on to HOST:443 if their first bytes are TLS, and drops all others
 *
 * Prints a line when it listens, then one for each connection.
 */

import { createServer as createHttp } from 'node:http';
import { connect, createServer } from 'node:net';

const [kind, port, host] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${line}\n`);

/** Joins two connections until either ends. */
function join(one, other) {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ]) {
    from.setNoDelay(true);
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
}

if (kind === 'proxy') {
  const server = createHttp((request, response) => {
    say(`refused ${request.method}`);
    response.writeHead(403).end();
  });
  server.on('connect', (request, client, head) => {
    const target = new URL(`tcp://${request.url}`);
    if (target.port !== '443') {
      say(`refused ${target.port}`);
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const upstream = connect(443, host ?? target.hostname, () => {
      say('connected');
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      join(client, upstream);
    });
    upstream.on('error', () => client.destroy());
  });
  server.listen(Number(port), '::', () => say('listening'));
} else {
  const server = createServer((client) => {
    client.on('error', () => {});
    client.once('data', (first) => {
      if (first[0] !== 0x16 || first[1] !== 3) {
        say('refused');
        client.destroy();
        return;
      }
      client.pause();
      const upstream = connect(443, host, () => {
        say('passed');
        upstream.write(first);
        join(client, upstream);
      });
      upstream.on('error', () => client.destroy());
    });
  });
  server.listen(Number(port), '::', () => say('listening'));
}
