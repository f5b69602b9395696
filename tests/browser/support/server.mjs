/** The real program, as a process of its own, on a free port with an empty data directory. */

import { spawn, execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const binary = process.env.HOUSECALL_BIN ?? fileURLToPath(new URL('../../../target/debug/housecall', import.meta.url));

/** Ports from here on, so many, are not given to those who take any (on Linux 32768 and above): no browser takes one between our look and the server's start. */
const PORTS = { from: 20_000, count: 12_000 };

/** A port that nobody uses, neither for TCP nor for UDP. */
async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = PORTS.from + Math.floor(PORTS.count * Math.random());
    const [tcp, udp] = [createServer(), createSocket('udp4')];
    const isFree = (socket, take) =>
      new Promise((resolve) => {
        socket.once('error', () => resolve(false));
        take(() => socket.close(() => resolve(true)));
      });
    if ((await isFree(tcp, (done) => tcp.listen(port, '0.0.0.0', done))) && (await isFree(udp, (done) => udp.bind(port, done)))) return port;
  }
  throw new Error('no port is free');
}

export class Server {
  /**
   * Starts a server with its own data, or on another's `data` and `port`. `host` 0.0.0.0 offers media on every address of the
   * machine: Firefox takes no candidate on the loopback interface. `relay` is the setting `turn.relay`; `tls` are the files of a
   * certificate, `{ cert, key }`; `settings` is further TOML, for before the first table. `wrap` goes before the command, as in
   * `['ip', 'netns', 'exec', 'name']`, and `origin` says how browsers reach the server then.
   */
  static async start({ data, port, host = '127.0.0.1', relay, tls, settings = '', wrap = [], origin } = {}) {
    const server = new Server();
    server.data = data ?? (await mkdtemp(join(tmpdir(), 'housecall-test-')));
    server.port = port ?? (await freePort());
    server.origin = origin ?? `${tls ? 'https' : 'http'}://localhost:${server.port}`;
    server.log = '';
    const args = ['serve', '--listen', `${host}:${server.port}`, '--data', server.data];
    if (relay || tls || settings) {
      const config = join(server.data, 'housecall.toml');
      const tables = [relay && `[turn]\nrelay = "${relay}"`, tls && `[tls]\ncert = "${tls.cert}"\nkey = "${tls.key}"`];
      await writeFile(config, ['demo = true', settings, ...tables.filter(Boolean), ''].join('\n'));
      args.push('--config', config);
    }
    const command = [...wrap, binary, ...args];
    server.process = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    server.exited = new Promise((resolve) => server.process.once('exit', (code, signal) => resolve(signal ?? code)));
    server.links = await new Promise((resolve, reject) => {
      const links = new Set();
      const read = (chunk) => {
        server.log += chunk;
        for (const [link] of server.log.matchAll(/https?:\/\/\S+\/join#\S+/g)) links.add(link);
        if (links.size >= 2) resolve([...links]);
      };
      server.process.stdout.on('data', read);
      server.process.stderr.on('data', read);
      server.process.once('error', (error) => reject(new Error(`starting ${binary} failed; build it first: cargo build. ${error.message}`)));
      server.exited.then((how) => reject(new Error(`the server ended (${how}) before it printed its links:\n${server.log}`)));
    });
    return server;
  }

  /** Runs a `housecall` command on the server's data. */
  async command(...args) {
    const { stdout } = await run(binary, [...args, '--data', this.data]);
    return stdout.trim();
  }

  /** A new visit and a link for each named role. */
  async visit(...roles) {
    const { visit } = JSON.parse(await this.command('visit', 'create', '--json'));
    const links = {};
    for (const role of roles) {
      const name = { patient: 'Pat Example', clinician: 'Dr. Clara Example', guest: 'Gus Example' }[role];
      links[role] = `${this.origin}/join#${await this.command('token', '--visit', visit, '--role', role, '--name', name)}`;
    }
    return { visit, ...links };
  }

  /** Ends the process without a chance to clean up. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  async stop() {
    this.process.kill('SIGTERM');
    const how = await this.exited;
    await rm(this.data, { recursive: true, force: true });
    return how;
  }
}
