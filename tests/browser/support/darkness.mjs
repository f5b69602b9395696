/**
 * Holds back what a page's WebSockets send and receive, as a network does that is gone for a while: nothing is lost, all comes late.
 * (What goes over UDP is the relay's to stop.)
 */

/** Source text, run in the page before its own scripts. */
export const script = `
  {
    const held = [];
    globalThis.darkness = {
      on: false,
      pass(run) {
        if (this.on) held.push(run);
        else run();
      },
      end() {
        this.on = false;
        for (const run of held.splice(0)) run();
      },
    };
    const events = ['open', 'message', 'close', 'error'];
    const Real = globalThis.WebSocket;
    globalThis.WebSocket = class extends Real {
      constructor(...args) {
        super(...args);
        for (const name of events) this.addEventListener(name, (event) => globalThis.darkness.pass(() => this['on_' + name]?.(event)));
      }
      send(data) {
        globalThis.darkness.pass(() => this.readyState === Real.OPEN && super.send(data));
      }
    };
    for (const name of events) {
      Object.defineProperty(globalThis.WebSocket.prototype, 'on' + name, {
        get() { return this['on_' + name] ?? null; },
        set(handler) { this['on_' + name] = handler; },
      });
    }
  }
`;

export const begin = (page) => page.evaluate(() => void (globalThis.darkness.on = true));
export const end = (page) => page.evaluate(() => void globalThis.darkness.end());
