/** A server and a Chromium for the tests of one file, and the windows that are open during one test. */

import { after, afterEach, before } from 'node:test';

import { launch, open } from './chromium.mjs';
import { Server } from './server.mjs';

/** Starts both, the server with `how`, before the file's tests and ends them after them; windows close after each test. */
export function windows(how = {}) {
  let server;
  let browser;
  let people = [];

  before(async () => {
    server = await Server.start(how);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  afterEach(async () => {
    for (const page of people) await page.context().close();
    people = [];
  });

  /** Somebody's page on `link`, in that browser or in another. */
  async function person(link, options = {}, from = browser) {
    const page = await open(from, link, options);
    people.push(page);
    return page;
  }

  /** A new visit: its links, and the pages of its patient and its clinician. */
  async function pair() {
    const links = await server.visit('patient', 'clinician');
    return { links, patient: await person(links.patient), clinician: await person(links.clinician) };
  }

  /** A new visit and a link for each named role. */
  const visit = (...roles) => server.visit(...roles);

  return { person, pair, visit, server: () => server };
}
