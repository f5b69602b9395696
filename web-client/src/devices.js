// @ts-check
/**
 * The one owner of microphone and camera.
 *
 * Muting the microphone keeps its track and silences it, so that unmuting is instant. Switching the camera off stops its track,
 * so that its light goes off; the sender keeps its line, layers and SSRCs meanwhile (see `Call.setTracks`).
 *
 * @typedef {import('../types/app.d.ts').DeviceState} DeviceState
 * @typedef {import('../types/app.d.ts').DevicesState} DevicesState
 * @typedef {import('../types/app.d.ts').DeviceTrouble} DeviceTrouble
 * @typedef {'microphone' | 'camera'} DeviceName
 */

export class Devices {
  /** @type {DevicesState} */
  state = { microphone: { name: 'idle' }, camera: { name: 'idle' }, microphones: [], cameras: [] };

  /** @type {() => void} */
  #onChange;
  /** @type {{microphone: string | null, camera: string | null}} */
  #chosen = { microphone: null, camera: null };

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#list());
  }

  /** What is to be sent. @returns {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} */
  get tracks() {
    return { audio: this.microphoneTrack, video: trackOf(this.state.camera) };
  }

  /** The microphone's track, also while it is muted. */
  get microphoneTrack() {
    return trackOf(this.state.microphone) ?? this.#mutedTrack;
  }

  /** @type {MediaStreamTrack | null} */
  #mutedTrack = null;

  /** What the person had switched off when the devices were let go of: it stays off when they come back. */
  #left = { muted: false, cameraOff: false };

  /** Asks for both at once, which is one question for the person; what then lacks is asked for on its own. */
  async start() {
    if (this.state.microphone.name !== 'idle' || this.state.camera.name !== 'idle') return;
    if (!navigator.mediaDevices?.getUserMedia) {
      this.#both({ name: 'trouble', trouble: 'insecure' });
      return;
    }
    const { muted, cameraOff } = this.#left;
    this.#left = { muted: false, cameraOff: false };
    if (muted || cameraOff) {
      this.state.microphone = { name: 'asking' };
      this.#set('camera', cameraOff ? { name: 'off' } : { name: 'asking' });
      await Promise.all([this.#ask('microphone', muted), cameraOff ? null : this.#ask('camera')]);
      await this.#list();
      return;
    }
    this.#both({ name: 'asking' });
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: this.#constraints('microphone'), video: this.#constraints('camera') });
      this.#take('microphone', stream.getAudioTracks()[0]);
      this.#take('camera', stream.getVideoTracks()[0]);
    } catch (error) {
      // "Denied" is the person's answer; asking again for each device would be nagging.
      if (troubleOf(error) === 'denied') this.#both({ name: 'trouble', trouble: 'denied' });
      else await Promise.all([this.#ask('microphone'), this.#ask('camera')]);
    }
    await this.#list();
  }

  /** Asks again for whatever is in trouble. */
  async retry() {
    const wanted = /** @type {const} */ (['microphone', 'camera']).filter((name) => this.state[name].name === 'trouble');
    if (wanted.length === 2) {
      this.#both({ name: 'idle' });
      await this.start();
      return;
    }
    for (const name of wanted) await this.#ask(name);
    await this.#list();
  }

  async toggleMicrophone() {
    const { microphone } = this.state;
    if (microphone.name === 'on') {
      microphone.track.enabled = false;
      this.#mutedTrack = microphone.track;
      this.#set('microphone', { name: 'off' });
    } else if (microphone.name === 'off' && this.#mutedTrack) {
      const track = this.#mutedTrack;
      track.enabled = true;
      this.#mutedTrack = null;
      this.#set('microphone', { name: 'on', track });
    } else if (microphone.name !== 'asking') {
      await this.#ask('microphone');
    }
  }

  async toggleCamera() {
    const { camera } = this.state;
    if (camera.name === 'on') {
      release(camera.track);
      this.#set('camera', { name: 'off' });
    } else if (camera.name !== 'asking') {
      await this.#ask('camera');
    }
  }

  /**
   * @param {DeviceName} name
   * @param {string} deviceId
   */
  async choose(name, deviceId) {
    this.#chosen[name] = deviceId;
    // A camera that is off is only remembered, a microphone that is muted stays muted.
    if (name === 'camera' && this.state.camera.name === 'off') {
      this.#onChange();
      return;
    }
    await this.#ask(name, name === 'microphone' && this.#mutedTrack !== null);
  }

  /**
   * The device in use or chosen, for the pickers.
   * @param {DeviceName} name
   */
  current(name) {
    const track = name === 'microphone' ? this.microphoneTrack : trackOf(this.state.camera);
    return track?.getSettings().deviceId ?? this.#chosen[name] ?? '';
  }

  /** Lets go of everything: the lights go off. The next `start` asks again (without a question, where the browser remembers). */
  stop() {
    const { microphone, camera } = this.state;
    if (microphone.name !== 'idle') this.#left = { muted: microphone.name === 'off', cameraOff: camera.name === 'off' };
    for (const track of [this.microphoneTrack, trackOf(this.state.camera)]) if (track) release(track);
    this.#mutedTrack = null;
    this.#both({ name: 'idle' });
  }

  /**
   * @param {DeviceName} name
   * @returns {MediaTrackConstraints}
   */
  #constraints(name) {
    const chosen = this.#chosen[name];
    const device = chosen ? { deviceId: { exact: chosen } } : {};
    return name === 'microphone'
      ? { ...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true }
      : {
          ...device,
          ...(chosen ? {} : { facingMode: 'user' }),
          width: { ideal: 1280 },
          height: { ideal: 720 },
          frameRate: { ideal: 30, max: 30 },
        };
  }

  /**
   * @param {DeviceName} name
   * @param {boolean} [muted] for a microphone that has to start silent
   */
  async #ask(name, muted = false) {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.#set(name, { name: 'trouble', trouble: 'insecure' });
      return;
    }
    // Some machines open a device only once: let go of the old one first.
    const old = name === 'microphone' ? this.microphoneTrack : trackOf(this.state.camera);
    if (old) release(old);
    if (name === 'microphone') this.#mutedTrack = null;
    this.#set(name, { name: 'asking' });
    try {
      const constraints = this.#constraints(name);
      const stream = await navigator.mediaDevices.getUserMedia(name === 'microphone' ? { audio: constraints } : { video: constraints });
      this.#take(name, stream.getTracks()[0], muted);
    } catch (error) {
      if (this.#chosen[name] && troubleOf(error) === 'missing') {
        // The chosen device is gone; any other will do.
        this.#chosen[name] = null;
        await this.#ask(name, muted);
        return;
      }
      this.#set(name, { name: 'trouble', trouble: troubleOf(error) });
    }
  }

  /**
   * @param {DeviceName} name
   * @param {MediaStreamTrack | undefined} track
   * @param {boolean} [muted]
   */
  #take(name, track, muted = false) {
    // The page may have let go of everything while the browser was asking.
    if (!track || this.state[name].name !== 'asking') {
      track?.stop();
      return;
    }
    track.contentHint = name === 'microphone' ? 'speech' : 'motion';
    track.onended = () => {
      if (name === 'microphone' && this.#mutedTrack === track) this.#mutedTrack = null;
      this.#set(name, { name: 'trouble', trouble: 'missing' });
      void this.#list();
    };
    if (muted) {
      track.enabled = false;
      this.#mutedTrack = track;
      this.#set(name, { name: 'off' });
    } else {
      this.#set(name, { name: 'on', track });
    }
  }

  async #list() {
    try {
      const all = await navigator.mediaDevices.enumerateDevices();
      // Before permission, browsers list devices without ids: nothing to choose from.
      this.state.microphones = all.filter((d) => d.kind === 'audioinput' && d.deviceId !== '');
      this.state.cameras = all.filter((d) => d.kind === 'videoinput' && d.deviceId !== '');
      this.#onChange();
    } catch {
      // No list, no pickers.
    }
  }

  /** @param {DeviceState} state */
  #both(state) {
    this.state.microphone = state;
    this.state.camera = state;
    this.#onChange();
  }

  /**
   * @param {DeviceName} name
   * @param {DeviceState} state
   */
  #set(name, state) {
    this.state[name] = state;
    this.#onChange();
  }
}

/**
 * What an error of `getUserMedia` means for a person.
 * @param {unknown} error
 * @returns {DeviceTrouble}
 */
export function troubleOf(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'TypeError':
      return 'insecure';
    default:
      // NotReadableError, AbortError: another program holds it, or the hardware refused.
      return 'busy';
  }
}

/** @param {DeviceState} device */
function trackOf(device) {
  return device.name === 'on' ? device.track : null;
}

/** @param {MediaStreamTrack} track */
function release(track) {
  track.onended = null;
  track.stop();
}
