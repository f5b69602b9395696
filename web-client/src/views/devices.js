// @ts-check
/** Level bar, device pickers, and what is wrong with a device: on the join page and in the call's settings. */

import { h, icon, setAttribute, setText, show } from '../dom.js';
import { t } from '../i18n.js';
import { LevelMeter } from '../level.js';

/** Above this the bar has visibly moved. */
const HEARD = 0.35;

/**
 * @param {import('../app.js').App} app
 * @param {{notice?: boolean}} [options] without the notice where the page has it in a place that is seen first
 */
export function devicePanel(app, { notice: withNotice = true } = {}) {
  const { devices } = app;
  const bar = h('span', { class: 'level-bar' });
  const words = h('span', { class: 'level-words' });
  const level = h('div', { class: 'level' }, icon('mic'), h('span', { class: 'level-track', 'aria-hidden': 'true' }, bar), words);
  let heard = false;
  const meter = new LevelMeter((value) => {
    bar.style.transform = `scaleX(${value.toFixed(3)})`;
    if (value > HEARD && !heard) {
      heard = true;
      setText(words, t('device.heard'));
    }
  });
  const microphones = picker('microphone', t('device.microphone'));
  const cameras = picker('camera', t('device.camera'));
  const notice = deviceNotice(app);
  const element = h('div', { class: 'devices' }, withNotice && notice.element, level, h('div', { class: 'pickers' }, microphones.element, cameras.element));

  /**
   * @param {'microphone' | 'camera'} name
   * @param {string} label
   */
  function picker(name, label) {
    const select = h('select', {
      onchange: () => void devices.choose(name, select.value),
    });
    const field = h('label', { class: 'field' }, h('span', {}, label), select);
    let drawn = '';
    return {
      element: field,
      update() {
        const list = name === 'microphone' ? devices.state.microphones : devices.state.cameras;
        const signature = JSON.stringify(list.map((d) => [d.deviceId, d.label]));
        if (signature !== drawn) {
          drawn = signature;
          const numbered = name === 'microphone' ? 'device.numbered_microphone' : 'device.numbered_camera';
          select.replaceChildren(...list.map((d, i) => h('option', { value: d.deviceId }, d.label || t(numbered, { number: i + 1 }))));
        }
        const current = devices.current(name);
        if (current && select.value !== current && list.some((d) => d.deviceId === current)) select.value = current;
        show(field, list.length > 0);
      },
    };
  }

  return {
    element,
    update() {
      const { microphone } = devices.state;
      meter.follow(microphone.name === 'on' ? microphone.track : null);
      show(level, microphone.name === 'on');
      if (!heard) setText(words, t('device.speak'));
      notice.update();
      microphones.update();
      cameras.update();
    },
    destroy() {
      meter.stop();
    },
  };
}

/**
 * The one sentence and the one action for devices that are in trouble.
 * @param {import('../app.js').App} app
 */
export function deviceNotice(app) {
  const words = h('p');
  const button = h('button', { type: 'button', class: 'button quiet', onclick: () => void app.devices.retry() });
  const secure = h('a', { class: 'button quiet' }, t('device.open_secure'));
  const element = h('div', { class: 'notice', role: 'status' }, words, button, secure);
  return {
    element,
    update() {
      const { microphone, camera } = app.devices.state;
      if (microphone.name === 'asking' || camera.name === 'asking') {
        setText(words, t('device.asking'));
        show(button, false);
        show(secure, false);
        show(element, true);
        return;
      }
      const mic = microphone.name === 'trouble' ? microphone.trouble : null;
      const cam = camera.name === 'trouble' ? camera.trouble : null;
      const trouble = mic ?? cam;
      show(element, trouble !== null);
      if (!trouble) return;
      setText(words, t(sentence(mic, cam)));
      const insecure = trouble === 'insecure';
      setText(button, t(trouble === 'missing' ? 'device.look_again' : trouble === 'denied' ? 'device.ask_again' : 'device.try_again'));
      show(button, !insecure);
      show(secure, insecure);
      if (insecure) setAttribute(secure, 'href', location.href.replace(/^http:/, 'https:'));
    },
  };
}

/**
 * The more pressing trouble is the microphone's: without it nobody hears the person.
 * @param {import('../../types/app.d.ts').DeviceTrouble | null} microphone
 * @param {import('../../types/app.d.ts').DeviceTrouble | null} camera
 * @returns {import('../i18n.js').Key}
 */
export function sentence(microphone, camera) {
  const trouble = microphone ?? camera ?? 'missing';
  if (trouble === 'insecure') return 'device.insecure';
  if (microphone === camera) return `device.${trouble}`;
  return /** @type {import('../i18n.js').Key} */ (microphone ? `device.${microphone}_microphone` : `device.${camera}_camera`);
}
