/** What the tests do with a shared screen. */

import { hook, stats, until } from './page.mjs';

/** What a page receives of the screen it is shown. */
async function seen(page) {
  const id = await hook(page, 'remote-screen').evaluate((video) => video.srcObject?.getTracks()[0]?.id);
  return (await stats(page)).find((stat) => stat.type === 'inbound-rtp' && stat.trackIdentifier === id);
}

/** What a page sends of its screen: the one picture that it sends once. */
export const sent = async (page) => (await stats(page)).find((stat) => stat.type === 'outbound-rtp' && stat.kind === 'video' && !stat.rid);

/** Waits until the page has decoded so many more frames of the screen. */
export async function shows(page, frames) {
  const before = (await seen(page))?.framesDecoded ?? 0;
  return until(`${frames} more frames of the screen are decoded`, async () => {
    const now = await seen(page);
    return (now?.framesDecoded ?? 0) >= before + frames && now;
  }, 60_000);
}
