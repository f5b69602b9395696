// @ts-check
/** What only clinicians need: the queue, the list of the day, the panel beside the visit. Loaded when one has come in. */

import { Today } from './today.js';
import { askToEnd } from './views/dialog.js';
import { sidePanel } from './views/panel.js';
import { queueView } from './views/queue.js';
import { todayView } from './views/today.js';

/** @typedef {ReturnType<typeof openDesk>} Desk */

/**
 * @param {import('./app.js').App} app
 * @param {() => void} onChange
 */
export function openDesk(app, onChange) {
  const today = new Today(() => app.freshSession(), onChange);
  return {
    /** Starts and stops the list with the pages that show it. */
    follow: () => today.follow(app.state),
    queue: () => queueView(app),
    today: () => todayView(app, today),
    /** Asks whether the visit is to end for everybody. */
    askToEnd: () => askToEnd(app),
    panel: () => sidePanel(app, today),
  };
}
