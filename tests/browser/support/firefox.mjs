/**
 * Debian's Firefox ESR with made-up devices, driven over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), which Firefox
 * speaks itself: no driver program in between.
 *
 * A page has the part of Playwright's interface that our tests use, so that one test serves both browsers.
 */

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';

import { until } from './page.mjs';

const executable = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

const preferences = {
  // Devices: made-up ones, allowed without a question, also in a window that has no focus.
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.getusermedia.window.focus_source.enabled': false,
  // Several windows at once, none of them in front.
  'dom.timeout.enable_budget_timer_throttling': false,
  'dom.min_background_timeout_value': 4,
  'widget.windows.window_occlusion_tracking.enabled': false,
  'media.suspend-background-video.enabled': false,
  // No page but ours, no plugin, no word to anybody.
  'app.normandy.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.aboutwelcome.enabled': false,
  'browser.newtabpage.enabled': false,
  'browser.region.network.url': '',
  'browser.safebrowsing.blockedURIs.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.search.update': false,
  'browser.sessionstore.resume_from_crash': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'browser.startup.page': 0,
  'browser.tabs.warnOnClose': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.push.connection.enabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'extensions.update.enabled': false,
  'intl.accept_languages': 'en-US, en',
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-provider.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.prefetch-next': false,
  'network.trr.mode': 5,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
  'toolkit.cosmeticAnimations.enabled': false,
  'toolkit.startup.max_resumed_crashes': -1,
  'toolkit.telemetry.enabled': false,
};

/** Firefox as a process with a fresh profile, which trusts certificates of `authority` besides. */
export async function launch({ authority } = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'housecall-firefox-'));
  if (authority) {
    const store = ['-d', `sql:${profile}`];
    await promisify(execFile)('certutil', ['-N', ...store, '--empty-password']);
    await promisify(execFile)('certutil', ['-A', ...store, '-n', 'ca', '-t', 'C,,', '-i', authority.root]);
  }
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
  await writeFile(join(profile, 'user.js'), `${lines.join('\n')}\n`);
  const child = spawn(executable, ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port=0', 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, MOZ_CRASHREPORTER_DISABLE: '1', MOZ_DATA_REPORTING: '0' },
  });
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  try {
    const address = await new Promise((resolve, reject) => {
      let log = '';
      child.stderr.setEncoding('utf8').on('data', (chunk) => {
        if (log.length < 100_000) log += chunk;
        const [, found] = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(log) ?? [];
        if (found) resolve(found);
      });
      child.once('error', reject);
      void exited.then((how) => reject(new Error(`Firefox ended (${how}) before it listened:\n${log}`)));
    });
    const session = await Session.open(`${address}/session`);
    await session.send('session.new', { capabilities: {} });
    await session.send('session.subscribe', { events: ['log.entryAdded'] });
    return new Firefox(session, { child, exited, profile });
  } catch (error) {
    child.kill('SIGKILL');
    await exited;
    await rm(profile, { recursive: true, force: true });
    throw error;
  }
}

/**
 * A person: a window of its own, with storage of its own, on `link`. `script` is run in every document before the page's own scripts.
 */
export async function open(firefox, link, { script } = {}) {
  const { session } = firefox;
  const { userContext } = await session.send('browser.createUserContext', {});
  const { context } = await session.send('browsingContext.create', { type: 'window', userContext });
  await session.send('browsingContext.setViewport', { context, viewport: { width: 1280, height: 800 } });
  if (script) {
    await session.send('script.addPreloadScript', { functionDeclaration: `() => {${script}}`, userContexts: [userContext] });
  }
  const page = new Page(session, context, userContext);
  await page.goto(link);
  return page;
}

/** The WebSocket: commands with their answers, and events. */
class Session {
  #socket;
  #last = 0;
  #open = new Map();
  /** Called with each event: `{method, params}`. */
  listeners = new Set();

  static async open(url) {
    const session = new Session();
    const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 64 << 20 });
    session.#socket = socket;
    socket.on('message', (data) => session.#message(JSON.parse(data)));
    socket.on('close', () => session.#closed());
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    // Later errors end in "close".
    socket.on('error', () => {});
    return session;
  }

  send(method, params) {
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      this.#open.set(id, { method, resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }), (error) => error && this.#open.delete(id) && reject(error));
    });
  }

  close() {
    this.#socket.close();
  }

  #message(message) {
    if (message.type === 'event') {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const command = this.#open.get(message.id);
    if (!command) return;
    this.#open.delete(message.id);
    if (message.type === 'success') command.resolve(message.result);
    else command.reject(new Error(`${command.method}: ${message.error}: ${message.message}`));
  }

  #closed() {
    for (const { method, reject } of this.#open.values()) reject(new Error(`${method}: Firefox closed the connection`));
    this.#open.clear();
  }
}

class Firefox {
  #process;

  constructor(session, process) {
    this.session = session;
    this.#process = process;
  }

  async close() {
    const { child, exited, profile } = this.#process;
    // It may go before it answers.
    await this.session.send('browser.close', {}).catch(() => {});
    this.session.close();
    const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(deadline);
    // Its other processes may go after it, and write until then.
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

class Page {
  /** What went wrong on the page: uncaught errors, and what it wrote as an error. */
  errors = [];
  #session;
  #context;
  #userContext;

  constructor(session, context, userContext) {
    this.#session = session;
    this.#context = context;
    this.#userContext = userContext;
    session.listeners.add(this.#listen);
  }

  #listen = ({ method, params }) => {
    if (method === 'log.entryAdded' && params.source.context === this.#context && params.level === 'error') this.errors.push(params.text);
  };

  async goto(url) {
    await this.#session.send('browsingContext.navigate', { context: this.#context, url, wait: 'complete' });
  }

  async reload() {
    await this.#session.send('browsingContext.reload', { context: this.#context, wait: 'complete' });
  }

  /** Calls `f` in the page. Arguments and result cross as JSON. */
  async evaluate(f, ...args) {
    const answer = await this.#session.send('script.callFunction', {
      functionDeclaration: `async (json) => JSON.stringify(await (${f})(...JSON.parse(json)))`,
      awaitPromise: true,
      target: { context: this.#context },
      arguments: [{ type: 'string', value: JSON.stringify(args) }],
      userActivation: false,
    });
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
    return answer.result.value === undefined ? undefined : JSON.parse(answer.result.value);
  }

  locator(selector) {
    return new Locator(this, selector);
  }

  /**
   * The element's pixels in the middle, pressed and released by the browser's own input, which counts as the person's deed. False if it cannot be
   * pressed yet, or was not hit: what is above it on the page may have grown since it was measured, and it is somewhere else.
   */
  async press(selector) {
    const point = await this.evaluate((selector) => {
      const element = document.querySelector(selector);
      if (!element || element.disabled) return null;
      element.scrollIntoView({ block: 'center', behavior: 'instant' });
      const { left, top, width, height } = element.getBoundingClientRect();
      const [x, y] = [Math.floor(left + width / 2), Math.floor(top + height / 2)];
      // Covered by something else: not yet.
      if (width === 0 || !element.contains(document.elementFromPoint(x, y))) return null;
      const note = (event) => {
        if (!event.target.closest?.(selector)) return;
        globalThis.pressed = true;
        removeEventListener('click', note, true);
      };
      globalThis.pressed = false;
      addEventListener('click', note, true);
      return { x, y };
    }, selector);
    if (!point) return false;
    await this.#session.send('input.performActions', {
      context: this.#context,
      actions: [
        {
          type: 'pointer',
          id: 'mouse',
          actions: [{ type: 'pointerMove', ...point }, { type: 'pointerDown', button: 0 }, { type: 'pointerUp', button: 0 }],
        },
      ],
    });
    // A page that was left for another by it knows nothing of it. One that is busy takes its time.
    for (const end = Date.now() + 5_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
      if (await this.evaluate(() => globalThis.pressed !== false)) return true;
    }
    return false;
  }

  context() {
    return {
      close: async () => {
        this.#session.listeners.delete(this.#listen);
        // Closes its window, too.
        await this.#session.send('browser.removeUserContext', { userContext: this.#userContext });
      },
    };
  }
}

class Locator {
  #page;
  #selector;

  constructor(page, selector) {
    this.#page = page;
    this.#selector = selector;
  }

  /** A selector stands for its first element. */
  first() {
    return this;
  }

  count() {
    return this.#page.evaluate((selector) => document.querySelectorAll(selector).length, this.#selector);
  }

  isVisible() {
    return this.#page.evaluate((selector) => {
      const element = document.querySelector(selector);
      if (!element) return false;
      const { width, height } = element.getBoundingClientRect();
      return width > 0 && height > 0 && getComputedStyle(element).visibility === 'visible';
    }, this.#selector);
  }

  async waitFor({ state = 'visible', timeout } = {}) {
    const holds = {
      visible: () => this.isVisible(),
      hidden: async () => !(await this.isVisible()),
      detached: async () => (await this.count()) === 0,
    }[state];
    await until(`${this.#selector} is ${state}`, holds, timeout);
  }

  /** Calls `f` with the element. */
  evaluate(f) {
    return this.#page.evaluate(`(selector) => (${f})(document.querySelector(selector))`, this.#selector);
  }

  async click({ timeout } = {}) {
    await until(`${this.#selector} can be pressed`, () => this.#page.press(this.#selector), timeout);
  }
}
