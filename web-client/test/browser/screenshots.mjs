// @ts-check
/** `npm run shots [-- name…]`: pictures of every screen, in test-results/, to be looked at. */

import { mkdir } from 'node:fs/promises';
import { serve } from '../mock-server.mjs';
import { launch, open, screens } from './screens.mjs';

const OUT = new URL('../../test-results/', import.meta.url).pathname;
const SIZES = [
  { width: 320, height: 640 },
  { width: 390, height: 844 },
  { width: 844, height: 390 },
  { width: 1280, height: 800 },
];
const wanted = process.argv.slice(2);

await mkdir(OUT, { recursive: true });
const server = await serve(0);
const browser = await launch();
for (const screen of screens) {
  if (wanted.length > 0 && !wanted.some((w) => screen.name.startsWith(w))) continue;
  for (const size of SIZES) {
    if (size.height < 480 && !/^(visit|room)/.test(screen.name)) continue;
    const { page, context, complaints } = await open(browser, server.origin, screen, size).catch((error) => {
      throw new Error(`${screen.name} at ${size.width}: ${error}`);
    });
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${OUT}${screen.name}-${size.width}.png`, fullPage: true });
    for (const complaint of complaints) console.log(`${screen.name} ${size.width}: ${complaint}`);
    await context.close();
  }
  console.log(screen.name);
}
await browser.close();
server.close();
