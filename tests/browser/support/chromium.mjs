/** Debian's Chromium with made-up devices at 1280×720. */

import { chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const base = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * A browser whose camera and microphone are there and allowed (`devices: true`), or not there at all. `home` is its home directory, where it
 * looks for authorities of certificates; `path` another program that starts it; `more` are further arguments.
 */
export function launch({ devices = true, home, path = executablePath, more = [] } = {}) {
  const args = [...base, ...more];
  if (devices) args.push('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream');
  return chromium.launch({ executablePath: path, args, env: home ? { ...process.env, HOME: home } : process.env });
}

export { executablePath };

/**
 * A person: a browser context of its own with one page on `link`. `script` is run in every document before the page's own scripts.
 */
export async function open(browser, link, { script, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options });
  context.setDefaultTimeout(60_000);
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.errors.push(message.text());
  });
  const waiting = new Set();
  page.on('request', (request) => waiting.add(request));
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => waiting.delete(request));
  await page.goto(link).catch((error) => {
    const still = [...waiting].map((request) => `${request.method()} ${request.url()}`);
    throw new Error(`${error.message}\nnot answered yet: ${still.join(', ') || 'nothing'}`, { cause: error });
  });
  return page;
}
