// @ts-check
/** The microphone and camera buttons, the same on every screen. */

import { h, icon, setAttribute, setText } from '../dom.js';
import { t } from '../i18n.js';

/** Single letters would fire while somebody dictates or types (WCAG 2.1.4), so both need Control or Command. */
export const SHORTCUTS = { microphone: 'd', camera: 'e' };

/**
 * @param {import('../app.js').App} app
 * @param {'preview' | 'call'} place in the call the buttons carry their names
 */
export function toggleButtons(app, place) {
  const micIcon = icon('mic');
  const micWords = h('span', { class: 'control-words' });
  const mic = h(
    'button',
    {
      type: 'button',
      class: 'control',
      'data-test': 'mute',
      'aria-keyshortcuts': 'Control+D Meta+D',
      onclick: () => void toggle(app, 'microphone'),
    },
    micIcon,
    micWords,
  );
  const camIcon = icon('camera');
  const camWords = h('span', { class: 'control-words' });
  const cam = h(
    'button',
    {
      type: 'button',
      class: 'control',
      'data-test': 'camera',
      'aria-keyshortcuts': 'Control+E Meta+E',
      onclick: () => void toggle(app, 'camera'),
    },
    camIcon,
    camWords,
  );
  const element = h('div', { class: `toggles ${place}` }, mic, cam);
  return {
    element,
    mic,
    cam,
    update() {
      const { microphone, camera } = app.devices.state;
      draw(mic, micIcon, micWords, microphone.name, 'mic', [t('visit.mute'), t('visit.unmute')]);
      draw(cam, camIcon, camWords, camera.name, 'camera', [t('visit.camera_off'), t('visit.camera_on')]);
    },
  };
}

/**
 * Control+D and Control+E, wherever the focus is.
 * @param {import('../app.js').App} app
 * @returns {() => void} takes them away again
 */
export function shortcuts(app) {
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (key !== SHORTCUTS.microphone && key !== SHORTCUTS.camera) return;
    event.preventDefault();
    void toggle(app, key === SHORTCUTS.microphone ? 'microphone' : 'camera');
  };
  addEventListener('keydown', onKey);
  return () => removeEventListener('keydown', onKey);
}

/**
 * @param {import('../app.js').App} app
 * @param {'microphone' | 'camera'} name
 */
async function toggle(app, name) {
  await (name === 'microphone' ? app.devices.toggleMicrophone() : app.devices.toggleCamera());
  const on = app.devices.state[name].name === 'on';
  app.announce(t(`announce.${name}_${on ? 'on' : 'off'}`));
}

/**
 * The name says what a press does; the picture and colour say how it is.
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} symbol
 * @param {HTMLElement} words
 * @param {import('../../types/app.d.ts').DeviceState['name']} state
 * @param {'mic' | 'camera'} picture
 * @param {[string, string]} names
 */
function draw(button, symbol, words, state, picture, [turnOff, turnOn]) {
  const on = state === 'on';
  button.classList.toggle('is-off', !on);
  button.disabled = state === 'asking';
  symbol.className = `icon icon-${on ? picture : `${picture}-off`}`;
  setText(words, on ? turnOff : turnOn);
  setAttribute(button, 'title', on ? turnOff : turnOn);
}
