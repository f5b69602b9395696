/** A server and both browsers for the tests of one file, and whoever is there during one test. */

import { after, afterEach, before } from 'node:test';

import * as chromium from './chromium.mjs';
import * as firefox from './firefox.mjs';
import { Relay } from './relay.mjs';
import { Server } from './server.mjs';

/** Starts all before the file's tests and ends it after them; people and relays go after each test. */
export function house() {
  let server;
  /** The running browsers by name. */
  const browsers = {};
  let people = [];
  let relays = [];

  before(async () => {
    // On every address: Firefox takes no candidate on the loopback interface.
    server = await Server.start({ host: '0.0.0.0' });
    browsers.Firefox = await firefox.launch();
    browsers.Chromium = await chromium.launch();
  });
  after(async () => {
    await browsers.Chromium?.close();
    await browsers.Firefox?.close();
    await server?.stop();
  });
  afterEach(async () => {
    for (const page of people) await page.context().close();
    for (const relay of relays) await relay.close();
    people = [];
    relays = [];
  });

  /** Somebody's page on `link`, in the browser of that name. */
  async function person(name, link, options) {
    const { open } = name === 'Firefox' ? firefox : chromium;
    const page = await open(browsers[name], link, options);
    people.push(page);
    return page;
  }

  /**
   * A patient behind a relay of their own, and a clinician at the server's side. `script` is run in the patient's page; the other
   * options are the relay's.
   */
  async function pairBehindRelay(patientIn, clinicianIn, { script = '', ...options } = {}) {
    const relay = await Relay.start({ port: server.port, ...options });
    relays.push(relay);
    const links = await server.visit('patient', 'clinician');
    const patient = await person(patientIn, links.patient, { script: relay.script + script });
    const clinician = await person(clinicianIn, links.clinician);
    return { relay, patient, clinician };
  }

  /** A new visit and a link for each named role. */
  const visit = (...roles) => server.visit(...roles);

  return { person, pairBehindRelay, visit };
}
