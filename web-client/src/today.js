// @ts-check
/**
 * The clinician's appointments of today, kept fresh while a clinician's page shows them.
 *
 * @typedef {import('../types/app.d.ts').State} State
 * @typedef {import('../types/app.d.ts').Session} Session
 * @typedef {import('../types/app.d.ts').TodayRow} TodayRow
 */

import * as api from './api.js';

const EVERY_MS = 10_000;
/** After something happened in the visit, so that the list does not say otherwise for long. Several happenings share one look. */
const SOON_MS = 500;

export class Today {
  /** @type {TodayRow[] | null} null until the first answer */
  rows = null;
  /** Whether the last try failed; the rows are then those of the last one that worked. */
  stale = false;

  #session;
  #onChange;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #soon;
  #seen = '';

  /**
   * @param {() => Promise<Session>} session
   * @param {() => void} onChange
   */
  constructor(session, onChange) {
    this.#session = session;
    this.#onChange = onChange;
  }

  /**
   * Starts and stops with the pages that show the list.
   * @param {State} state
   */
  follow({ page }) {
    const wanted = 'session' in page && page.session.role === 'clinician';
    const seen = happening(page);
    if (wanted && this.#timer !== undefined && seen !== this.#seen) {
      clearTimeout(this.#soon);
      this.#soon = setTimeout(() => void this.refresh(), SOON_MS);
    }
    this.#seen = seen;
    if (wanted === (this.#timer !== undefined)) return;
    if (wanted) {
      this.#timer = setInterval(() => void this.#poll(), EVERY_MS);
      void this.refresh();
    } else {
      clearInterval(this.#timer);
      clearTimeout(this.#soon);
      this.#timer = undefined;
    }
  }

  async refresh() {
    try {
      const { appointments } = await api.today(await this.#session());
      this.rows = appointments;
      this.stale = false;
    } catch {
      this.stale = true;
    }
    this.#onChange();
  }

  /** @param {import('../types/app.d.ts').NewAppointment} appointment */
  async create(appointment) {
    const created = await api.createAppointment(await this.#session(), appointment);
    void this.refresh();
    return created;
  }

  /** @param {string} visit */
  async cancel(visit) {
    await api.cancelAppointment(await this.#session(), visit);
    await this.refresh();
  }

  /** Nobody looks at a hidden page; the next poll after its return is at most one period away. */
  async #poll() {
    if (document.visibilityState === 'visible') await this.refresh();
  }
}

/**
 * What the list shows of the visit that is open here, as a text to compare.
 * @param {State['page']} page
 */
function happening(page) {
  const visit = 'room' in page ? page.room?.visit : null;
  return `${page.name} ${visit?.participants.length ?? 0} ${visit?.queue.length ?? 0}`;
}
