// @ts-check
/** One's own picture: mirrored, as in a mirror. One element for every screen that shows it. */

import { h, icon, setText, show } from '../dom.js';
import { t } from '../i18n.js';

/** @param {import('../app.js').App} app */
export function selfPicture(app) {
  const video = h('video', { class: 'self-video', playsinline: true, autoplay: true, 'data-test': 'self-video', 'aria-label': t('visit.self') });
  video.muted = true;
  const words = h('span');
  const blank = h('p', { class: 'self-blank' }, icon('camera-off'), words);
  const element = h('div', { class: 'self-picture' }, video, blank);
  /** @type {MediaStreamTrack | null} */
  let drawn = null;

  return {
    element,
    update() {
      const { camera } = app.devices.state;
      const track = camera.name === 'on' ? camera.track : null;
      if (track !== drawn) {
        drawn = track;
        video.srcObject = track ? new MediaStream([track]) : null;
        if (track) void video.play().catch(() => {});
      }
      show(video, track !== null);
      show(blank, track === null);
      setText(words, camera.name === 'asking' ? '' : t('device.camera_off'));
    },
    destroy() {
      video.srcObject = null;
    },
  };
}
