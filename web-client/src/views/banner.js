// @ts-check
/** What is wrong with the connection to the server, or with sound and picture: one sentence, and after a while one action. */

import { h, setText, show } from '../dom.js';
import { t } from '../i18n.js';

/** A drop shorter than this is over before anybody could read about it. */
export const QUIET_MS = 1_500;
/** After this long the person is offered something to do. */
const GONE_MS = 12_000;

/**
 * For how many milliseconds the connection to the server has been away; 0 if it is not.
 * @param {import('../app.js').App} app
 */
export function lostFor({ state: { link } }) {
  return link.name === 'lost' ? performance.now() - link.since : 0;
}

/**
 * @param {import('../app.js').App} app
 * @param {(lost: boolean) => void} [onDraw] hears each time whether what the page shows of the visit may be out of date
 */
export function linkBanner(app, onDraw) {
  const words = h('p');
  const button = h('button', { type: 'button', class: 'button quiet', onclick: () => app.tryNow() });
  const element = h('div', { class: 'banner', role: 'status' }, words, button);
  show(element, false);
  const timer = setInterval(draw, 1_000);

  function draw() {
    const away = lostFor(app);
    const lost = away > QUIET_MS;
    const gone = away > GONE_MS;
    // Sound and picture have a way of their own: while they flow, nobody is told that everything is lost.
    const flows = app.state.page.name === 'visit' && app.call?.connection === 'connected';
    // Without the server nothing can be done about sound and picture either.
    const noMedia = !lost && app.mediaGivenUp;
    show(element, lost || noMedia);
    show(button, noMedia || gone);
    setText(button, t(noMedia ? 'problem.retry' : 'link.try_now'));
    setText(words, noMedia ? t('link.no_media') : lost ? t(flows ? 'link.flows' : gone ? 'link.gone' : 'link.lost') : '');
    onDraw?.(lost);
  }

  return {
    element,
    update: draw,
    destroy() {
      clearInterval(timer);
    },
  };
}
