// @ts-check
/**
 * A picture that was stopped by a line: its last frame stays, dimmed, until a new one is decoded; that the server sends again is not
 * yet a picture.
 */

import { isPaused } from '../quality.js';

/**
 * @param {HTMLVideoElement} video
 * @param {() => void} onBack a new frame is there
 */
export function pauses(video, onBack) {
  /** @type {'no' | 'paused' | 'coming'} */
  let pause = 'no';
  return {
    /** Whether the picture shows what was. */
    get on() {
      return pause !== 'no';
    },
    /** @param {import('../../types/app.d.ts').Picture} picture */
    follow(picture) {
      if (isPaused(picture)) pause = 'paused';
      else if (pause === 'paused') {
        const gone = !picture.video || picture.cameraMuted || !picture.connected;
        pause = gone || picture.sending === 'audio_only' ? 'no' : 'coming';
        if (pause === 'coming') nextFrame(video, () => pause === 'coming', () => {
          pause = 'no';
          onBack();
        });
      } else if (pause === 'coming' && (!picture.video || picture.cameraMuted)) pause = 'no';
    },
  };
}

/**
 * Calls back once the next frame of a picture has been decoded, unless nobody waits for it any more.
 * @param {HTMLVideoElement} video
 * @param {() => boolean} waits
 * @param {() => void} then
 */
function nextFrame(video, waits, then) {
  // Frames of a page in the background are decoded and not shown, so they are counted.
  const decoded = () => video.getVideoPlaybackQuality().totalVideoFrames;
  const before = decoded();
  const look = () => {
    if (!waits()) return;
    if (decoded() > before) then();
    else setTimeout(look, 100);
  };
  look();
}
