// @ts-check
/** Times and durations in words. Pure: zone and language come in. */

/**
 * When a visit is, in the visitor's own zone, and in the clinic's where its clock shows something else.
 * @param {{starts_at: string, ends_at: string, time_zone: string}} visit
 * @param {string} locale
 * @param {string} zone the visitor's
 * @returns {{day: string, time: string, clinic: {time: string, zone: string} | null}}
 */
export function visitTimes(visit, locale, zone) {
  const starts = new Date(visit.starts_at);
  const ends = new Date(visit.ends_at);
  const day = new Intl.DateTimeFormat(locale, { timeZone: zone, weekday: 'long', day: 'numeric', month: 'long' }).format(starts);
  const time = range(starts, ends, locale, zone);
  // Compared by what the clocks show, not by the zone's name: Berlin and Paris need no second line.
  const differs = wallClock(starts, zone) !== wallClock(starts, visit.time_zone);
  return {
    day,
    time,
    clinic: differs ? { time: range(starts, ends, locale, visit.time_zone), zone: city(visit.time_zone) } : null,
  };
}

/**
 * @param {string} instant
 * @param {string} locale
 * @param {string} zone
 */
export function clock(instant, locale, zone) {
  return unbroken(new Intl.DateTimeFormat(locale, { timeZone: zone, hour: 'numeric', minute: '2-digit' }).format(new Date(instant)));
}

/**
 * An instant to come, with its day unless that is today.
 * @param {Date} now
 * @param {string} instant
 * @param {string} locale
 * @param {string} zone
 */
export function whenFrom(now, instant, locale, zone) {
  const at = new Date(instant);
  const day = new Intl.DateTimeFormat(locale, { timeZone: zone, weekday: 'long', day: 'numeric', month: 'long' });
  const time = clock(instant, locale, zone);
  return day.format(at) === day.format(now) ? time : `${day.format(at)}, ${time}`;
}

/**
 * A length of time, coarse enough to be read at a glance.
 * @param {number} seconds
 * @param {string} locale
 */
export function duration(seconds, locale) {
  const whole = Math.max(0, Math.floor(seconds));
  const unit = (/** @type {number} */ n, /** @type {string} */ name) =>
    new Intl.NumberFormat(locale, { style: 'unit', unit: name, unitDisplay: 'short' }).format(n);
  if (whole < 60) return unit(whole, 'second');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return unit(minutes, 'minute');
  const rest = minutes % 60;
  return rest === 0 ? unit(Math.floor(minutes / 60), 'hour') : `${unit(Math.floor(minutes / 60), 'hour')} ${unit(rest, 'minute')}`;
}

/** The visitor's own zone. */
export function ownZone() {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/**
 * @param {Date} from
 * @param {Date} to
 * @param {string} locale
 * @param {string} zone
 */
function range(from, to, locale, zone) {
  return unbroken(new Intl.DateTimeFormat(locale, { timeZone: zone, hour: 'numeric', minute: '2-digit' }).formatRange(from, to));
}

/**
 * A time stays on one line: no "AM" alone on the next.
 * @param {string} time
 */
function unbroken(time) {
  return time.replace(/\s/g, '\u00a0');
}

/**
 * @param {Date} at
 * @param {string} zone
 */
function wallClock(at, zone) {
  return new Intl.DateTimeFormat('en', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' }).format(at);
}

/**
 * "America/Argentina/Buenos_Aires" → "Buenos Aires"
 * @param {string} zone
 */
function city(zone) {
  return (zone.split('/').at(-1) ?? zone).replaceAll('_', ' ');
}
