// @ts-check
/** What is wrong with the connection to the server, or with sound and picture: one sentence, and after a while one action. */

import { h, setText, show } from '../dom.js';
import { t } from '../i18n.js';

/** A drop shorter than this is over before anybody could read about it. */
const QUIET_MS = 1_500;
/** After this long the person is offered something to do. */
const GONE_MS = 12_000;

/** @param {import('../app.js').App} app */
export function linkBanner(app) {
  const words = h('p');
  const button = h('button', { type: 'button', class: 'button quiet', onclick: () => app.tryNow() });
  const element = h('div', { class: 'banner', role: 'status' }, words, button);
  show(element, false);
  const timer = setInterval(draw, 1_000);

  function draw() {
    const { link } = app.state;
    const lostFor = link.name === 'lost' ? performance.now() - link.since : 0;
    const lost = lostFor > QUIET_MS;
    // Without the server nothing can be done about sound and picture either.
    const noMedia = !lost && app.mediaGivenUp;
    show(element, lost || noMedia);
    show(button, noMedia || lostFor > GONE_MS);
    setText(button, t(noMedia ? 'problem.retry' : 'link.try_now'));
    setText(words, noMedia ? t('link.no_media') : lost ? t(lostFor > GONE_MS ? 'link.gone' : 'link.lost') : '');
  }

  return {
    element,
    update: draw,
    destroy() {
      clearInterval(timer);
    },
  };
}
