/** A shared screen in two Chromium windows through the real server. The browser's screen is a made-up one, chosen without a question. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodes, hook, meet, until } from './support/page.mjs';
import { sent, shows } from './support/screen.mjs';
import { windows } from './support/windows.mjs';

const { pair } = windows();

test('a screen is shared, seen whole by the other, and gone again when it is stopped: by the button, and by the browser', async () => {
  const { patient, clinician } = await pair();
  await meet(patient, clinician);
  for (const page of [patient, clinician]) await decodes(page, { frames: 20, audioSeconds: 1 });

  // A clinician first, and then the patient; then the clinician again, on the line of the first time.
  for (const [sharer, viewer, how] of [
    [clinician, patient, 'button'],
    [patient, clinician, 'button'],
    [clinician, patient, 'browser'],
  ]) {
    await hook(sharer, 'share').click();
    await hook(sharer, 'sharing').waitFor();
    await hook(viewer, 'remote-screen').waitFor();
    const { frameWidth, frameHeight } = await shows(viewer, 8);
    assert.deepEqual([frameWidth, frameHeight], [1920, 1080], 'every pixel of it');
    const { contentType } = await sent(sharer);
    assert.equal(contentType, 'screenshare');
    await decodes(viewer, { audioSeconds: 1 });
    await until('the screen is the largest', async () => {
      const [screen, stage] = [await hook(viewer, 'remote-screen').boundingBox(), await viewer.locator('.stage-middle').boundingBox()];
      return screen.width * screen.height > 0.6 * stage.width * stage.height;
    });

    if (how === 'button') await hook(sharer, 'share').click();
    else {
      // As when its bar is pressed, or the window is closed.
      await sharer.evaluate(() => {
        const track = globalThis.housecall.peerConnection.getSenders().map((sender) => sender.track).find((track) => track?.contentHint === 'text');
        track.stop();
        track.dispatchEvent(new Event('ended'));
      });
    }
    await hook(sharer, 'sharing').waitFor({ state: 'hidden' });
    await hook(viewer, 'remote-screen').waitFor({ state: 'detached' });
    await until('the face has the stage again', async () => {
      const [face, whole] = [await hook(viewer, 'remote-video').boundingBox(), await viewer.locator('.stage-middle').boundingBox()];
      return face.width === whole.width && face.height === whole.height;
    });
    await decodes(viewer, { audioSeconds: 1 });
  }
  for (const page of [patient, clinician]) assert.deepEqual(page.errors, []);
});
