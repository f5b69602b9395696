/**
 * Network devices that change only when a test changes them. A browser that starts soon after a device was made is told of everything the
 * kernel still does to it, and gives up what it loads just then with ERR_NETWORK_CHANGED.
 */

import { until } from './page.mjs';

/**
 * Keeps the kernel from giving a device that is still down a link-local address, which it would try out for seconds. `exec` runs a command
 * where the device is.
 */
export const plain = (exec, device) => exec('ip', 'link', 'set', device, 'addrgenmode', 'none');

/** Until a device is up and none of its addresses is being tried out. */
export const settled = (exec, device) =>
  until(`${device} is up`, async () => {
    const [link] = JSON.parse((await exec('ip', '-json', 'addr', 'show', 'dev', device)).stdout);
    return link.operstate === 'UP' && link.addr_info.every((address) => !address.tentative);
  });
