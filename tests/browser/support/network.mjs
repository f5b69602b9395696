/**
 * A network of its own for one browser: a namespace, a pair of virtual Ethernet ends, and on each a token bucket, whose rate can be
 * changed while a visit goes on. Needs root and the programs `ip` and `tc`; to
 * lose packets, `nft`.
 */

import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { plain, settled } from './link.mjs';

const run = promisify(execFile);
/**
 * Bytes that may pass at once. On thin lines little more than a packet: the kernel takes what a program sends in one call apart only where it is
 * larger than this, and a whole frame that passes as one packet is no line that there is.
 */
const BURST = '10kb';
const THIN_BURST = '2kb';
/** How long a packet may wait at most. */
const PATIENCE = '400ms';

let made = 0;

export class Network {
  /** Why no such network can be made here, or false. */
  static async missing() {
    const network = await Network.make().catch((error) => error);
    if (network instanceof Error) return `no network namespaces here (root, ip and tc are needed): ${network.message.split('\n')[0]}`;
    const obstacle = await network.setLoss(0.1).catch((error) => error);
    await network.remove();
    if (obstacle instanceof Error) return `nft is needed: ${obstacle.message.split('\n')[0]}`;
    return false;
  }

  static async make() {
    const network = new Network();
    const outside = (command, ...rest) => run(command, rest);
    const inside = (...command) => network.inside(...command);
    made += 1;
    const id = `${process.pid % 10_000}x${made}`;
    network.name = `hclab${id}`;
    network.outer = `hco${id}`;
    network.inner = `hci${id}`;
    // 198.18.0.0/15 is for tests of networks (RFC 2544): nobody's own address.
    const third = (process.pid + made) % 250;
    network.host = `198.18.${third}.1`;
    network.folder = await mkdtemp(join(tmpdir(), 'housecall-lab-'));
    try {
      await run('ip', ['netns', 'add', network.name]);
      await run('ip', ['link', 'add', network.outer, 'type', 'veth', 'peer', 'name', network.inner, 'netns', network.name]);
      await plain(outside, network.outer);
      await plain(inside, network.inner);
      await run('ip', ['addr', 'add', `${network.host}/30`, 'dev', network.outer]);
      await run('ip', ['link', 'set', network.outer, 'up']);
      await network.inside('ip', 'addr', 'add', `198.18.${third}.2/30`, 'dev', network.inner);
      await network.inside('ip', 'link', 'set', network.inner, 'up');
      await network.inside('ip', 'link', 'set', 'lo', 'up');
      await network.inside('ip', 'route', 'add', 'default', 'via', network.host);
      await settled(outside, network.outer);
      await settled(inside, network.inner);
      await network.setDown('100mbit');
      await network.setUp('100mbit');
    } catch (error) {
      await network.remove();
      throw error;
    }
    return network;
  }

  inside(...command) {
    return run('ip', ['netns', 'exec', this.name, ...command]);
  }

  /** The rate towards the browser, in the words of `tc`: `400kbit`. */
  setDown(rate) {
    return run('tc', ['qdisc', 'replace', 'dev', this.outer, ...bucket(rate)]);
  }

  /** The rate from the browser. */
  setUp(rate) {
    return this.inside('tc', 'qdisc', 'replace', 'dev', this.inner, ...bucket(rate));
  }

  /** Loses this share of UDP by chance where it arrives, each way; 0 ends it. (Dropped where it leaves, the sender would be told.) */
  async setLoss(share) {
    await this.#lose(share, this.outer, (...command) => run(command[0], command.slice(1)));
    await this.#lose(share, this.inner, (...command) => this.inside(...command));
  }

  async #lose(share, device, exec) {
    await exec('nft', 'delete', 'table', 'inet', device).catch(() => {});
    if (share === 0) return;
    await exec('nft', 'add', 'table', 'inet', device);
    await exec('nft', 'add', 'chain', 'inet', device, 'arrived', '{ type filter hook input priority 0; }');
    const drop = `iifname ${device} meta l4proto udp numgen random mod 1000 < ${Math.round(1_000 * share)} drop`;
    await exec('nft', 'add', 'rule', 'inet', device, 'arrived', ...drop.split(' '));
  }

  /** A program that starts `executable` inside. */
  async wrapper(executable) {
    const path = join(this.folder, 'browser');
    await writeFile(path, `#!/bin/sh\nexec ip netns exec ${this.name} "${executable}" "$@"\n`);
    await chmod(path, 0o755);
    return path;
  }

  async remove() {
    await this.setLoss(0).catch(() => {});
    await run('ip', ['netns', 'del', this.name]).catch(() => {});
    await run('ip', ['link', 'del', this.outer]).catch(() => {});
    await rm(this.folder, { recursive: true, force: true });
  }
}

const bucket = (rate) => ['root', 'tbf', 'rate', rate, 'burst', rate.endsWith('kbit') ? THIN_BURST : BURST, 'latency', PATIENCE];
