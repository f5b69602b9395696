/**
 * Network devices that change only when a test changes them. A browser that starts soon after a device was made is told of everything the
 * kernel still does to it, and gives up what it loads just then with ERR_NETWORK_CHANGED.
 */

import { until } from './page.mjs';

/**
 * Keeps the kernel from trying out addresses on a device for seconds before it uses them. `exec` runs a command where the device is.
 * They are used all the same: a router without a link-local address asks for no neighbour on behalf of others.
 */
export const plain = (exec, device) => exec('sysctl', '-qw', `net.ipv6.conf.${device}.dad_transmits=0`).catch(() => 'no IPv6 here');

/** Until a device is up and has its addresses, and none of them is being tried out. */
export const settled = (exec, device) =>
  until(`${device} is up`, async () => {
    const [link] = JSON.parse((await exec('ip', '-json', 'addr', 'show', 'dev', device)).stdout);
    const off = await exec('cat', `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`).then(({ stdout }) => stdout.trim() === '1', () => true);
    const local = off || link.addr_info.some(({ family, scope }) => family === 'inet6' && scope === 'link');
    return link.operstate === 'UP' && local && link.addr_info.every((address) => !address.tentative);
  });
