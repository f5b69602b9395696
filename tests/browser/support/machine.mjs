/** What the machine itself does to a visit when it has too little time for all that runs on it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** UDP datagrams that the kernel has thrown away, over IPv4 and IPv6, for the program that they were for did not fetch them in time. */
function overflowed() {
  const read = (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      // No IPv6 here.
      return '';
    }
  };
  const [names, values] = read('/proc/net/snmp').split('\n').filter((line) => line.startsWith('Udp: ')).map((line) => line.split(' '));
  const four = Number(values?.[names.indexOf('RcvbufErrors')] ?? 0);
  return four + Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(read('/proc/net/snmp6'))?.[1] ?? 0);
}

/**
 * Watches from now on how many datagrams the kernel throws away. Gives a function that asserts that a stream a page receives has no hole, or only
 * so many packets are missing, but for those: such holes are the machine's, and it is said how many there may have been. Its result is how many datagrams were thrown away.
 */
export function watchHoles() {
  const before = overflowed();
  return ({ packetsLost }, why, most = 0) => {
    const dropped = overflowed() - before;
    assert.ok(packetsLost <= most + dropped, `${why}: ${packetsLost} packets lost`);
    if (packetsLost > most) console.log(`${why}: ${packetsLost} lost; a program was so late that the kernel threw away ${dropped} datagrams`);
    return dropped;
  };
}

/** How late a timer of ours may be, in ms, on a machine that has the time for sound and picture. */
const LATE = 200;

/** Watches from now on how late our own timers are. Gives a function that says by how many ms at most, where that is too much to judge by. */
export function watchTime() {
  let [longest, last] = [0, performance.now()];
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 20);
    last = now;
  };
  setInterval(look, 20).unref();
  return () => {
    look();
    return longest > LATE ? Math.round(longest) : null;
  };
}
