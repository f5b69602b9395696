/**
 * A small internet in network namespaces: a server, two homes, and a router between them that can block, lose, translate and look into what
 * passes. Needs root, `ip` and `nft`.
 *
 * Each machine has a line to the router, 198.18.N.0/24 and 2001:db8:N::/64, the router's end being 1 and the machine's 2. Chromium takes no
 * candidate on port 443 of a private address, so none of them is one.
 */

import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { executablePath } from './chromium.mjs';
import { plain, settled } from './link.mjs';

const run = promisify(execFile);

/** The machines, each with the number of its line. */
const LINES = { server: 1, patient: 2, clinician: 3 };

/** The name under which all machines find the server. */
export const HOST = 'visits.test';

export class Internet {
  /** Why there can be none here, or null. */
  static async obstacle() {
    if (process.getuid() !== 0) return 'network namespaces need root';
    const probe = `hcp${process.pid}`;
    try {
      await run('ip', ['netns', 'add', probe]);
      await run('ip', ['netns', 'exec', probe, 'nft', 'add', 'table', 'inet', 'probe']);
      return null;
    } catch (error) {
      return `network namespaces cannot be made here: ${String(error.stderr ?? error.message).trim()}`;
    } finally {
      await run('ip', ['netns', 'del', probe]).catch(() => {});
    }
  }

  static async create() {
    const net = new Internet();
    net.folder = await mkdtemp(join(tmpdir(), 'housecall-net-'));
    for (const name of ['router', ...Object.keys(LINES)]) {
      await run('ip', ['netns', 'add', net.ns(name)]);
      await net.exec(name, 'ip', 'link', 'set', 'lo', 'up');
      await mkdir(`/etc/netns/${net.ns(name)}`, { recursive: true });
    }
    await net.exec('router', 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    for (const [name, line] of Object.entries(LINES)) {
      const [near, far] = [`r${line}`, `m${line}`];
      await net.exec('router', 'ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', net.ns(name));
      await plain((...command) => net.exec('router', ...command), near);
      await plain((...command) => net.exec(name, ...command), far);
      await net.exec('router', 'ip', 'addr', 'add', `198.18.${line}.1/24`, 'dev', near);
      await net.exec('router', 'ip', '-6', 'addr', 'add', `2001:db8:${line}::1/64`, 'dev', near, 'nodad');
      await net.exec('router', 'ip', 'link', 'set', near, 'up');
      await net.exec(name, 'ip', 'link', 'set', far, 'up');
      await net.v4(name, true);
      await net.v6(name, true);
    }
    await net.settled();
    await net.hosts('198.18.1.2', '2001:db8:1::2');
    return net;
  }

  ns(name) {
    return `hc${process.pid}-${name}`;
  }

  /** What goes before a command that is to run on a machine. */
  on(name) {
    return ['ip', 'netns', 'exec', this.ns(name)];
  }

  exec(name, ...command) {
    return run('ip', ['netns', 'exec', this.ns(name), ...command]);
  }

  /** Until both ends of all lines are as they were made. */
  async settled() {
    for (const [name, line] of Object.entries(LINES)) {
      await settled((...command) => this.exec('router', ...command), `r${line}`);
      await settled((...command) => this.exec(name, ...command), `m${line}`);
    }
  }

  /** Gives a machine its IPv4 address, or takes it away. */
  async v4(name, on) {
    const [line, device] = [LINES[name], `m${LINES[name]}`];
    if (!on) return this.exec(name, 'ip', 'addr', 'del', `198.18.${line}.2/24`, 'dev', device);
    await this.exec(name, 'ip', 'addr', 'add', `198.18.${line}.2/24`, 'dev', device);
    return this.exec(name, 'ip', 'route', 'replace', 'default', 'via', `198.18.${line}.1`);
  }

  async v6(name, on) {
    const [line, device] = [LINES[name], `m${LINES[name]}`];
    if (!on) return this.exec(name, 'ip', '-6', 'addr', 'del', `2001:db8:${line}::2/64`, 'dev', device);
    await this.exec(name, 'ip', '-6', 'addr', 'add', `2001:db8:${line}::2/64`, 'dev', device, 'nodad');
    return this.exec(name, 'ip', '-6', 'route', 'replace', 'default', 'via', `2001:db8:${line}::1`);
  }

  /** The addresses under which the two homes find the server. */
  async hosts(...addresses) {
    const text = ['127.0.0.1 localhost', ...addresses.map((address) => `${address} ${HOST}`), ''].join('\n');
    for (const name of Object.keys(LINES)) {
      await writeFile(`/etc/netns/${this.ns(name)}/hosts`, text);
      // Nobody listens there, and that is said at once: asked where nobody is, Chromium waits for 13 s before it believes the file above.
      await writeFile(`/etc/netns/${this.ns(name)}/resolv.conf`, 'nameserver 127.0.0.1\n');
    }
  }

  /** Bytes that a packet on a machine's line may have. */
  async mtu(name, bytes) {
    await this.exec('router', 'ip', 'link', 'set', `r${LINES[name]}`, 'mtu', String(bytes));
    await this.exec(name, 'ip', 'link', 'set', `m${LINES[name]}`, 'mtu', String(bytes));
    await this.settled();
  }

  /**
   * What the router does from now on, in the language of nftables; everything else passes. `forward` is for what passes (the line of the
   * patient is iifname/oifname "r2"), `nat` for translations, each a list of rules.
   */
  async rules({ forward = [], prerouting = [], postrouting = [] } = {}) {
    const chain = (name, type, hook, priority, rules) =>
      `  chain ${name} {\n    type ${type} hook ${hook} priority ${priority};\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n`;
    const text =
      'flush ruleset\ntable inet net {\n' +
      chain('forward', 'filter', 'forward', 0, forward) +
      chain('prerouting', 'nat', 'prerouting', -100, prerouting) +
      chain('postrouting', 'nat', 'postrouting', 100, postrouting) +
      '}\n';
    const file = join(this.folder, 'rules.nft');
    await writeFile(file, text);
    await this.exec('router', 'nft', '-f', file);
  }

  /** A program that starts the browser on a machine. */
  async browser(name) {
    const file = join(this.folder, `chromium-${name}`);
    await writeFile(file, `#!/bin/sh\nexec ip netns exec ${this.ns(name)} ${executablePath} "$@"\n`);
    await chmod(file, 0o755);
    return file;
  }

  /** Runs one of the scripts beside this file on the router, until `stop` of what this gives. Its lines are in `lines`. */
  async script(file, ...args) {
    const [command, ...rest] = [...this.on('router'), process.execPath, file, ...args.map(String)];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = [];
    const ready = new Promise((resolve, reject) => {
      child.stdout.on('data', (chunk) => {
        lines.push(...String(chunk).split('\n').filter(Boolean));
        resolve();
      });
      child.once('exit', (code) => reject(new Error(`${file} ended (${code})`)));
    });
    await ready;
    return { lines, stop: () => child.kill() };
  }

  async destroy() {
    for (const name of ['router', ...Object.keys(LINES)]) {
      await run('ip', ['netns', 'del', this.ns(name)]).catch(() => {});
      await rm(`/etc/netns/${this.ns(name)}`, { recursive: true, force: true });
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
