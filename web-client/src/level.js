// @ts-check
/** How loud a microphone is, for the moving bar. */

/** Quieter than this is silence in a quiet room (dBFS). */
const FLOOR_DB = -60;

export class LevelMeter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  #frame = 0;
  #onLevel;
  #resume = () => void this.#context?.resume();

  /** @param {(level: number) => void} onLevel 0..1, on every animation frame */
  constructor(onLevel) {
    this.#onLevel = onLevel;
  }

  /**
   * Listens to this track from now on.
   * @param {MediaStreamTrack | null} track
   */
  follow(track) {
    if (track === this.#track) return;
    this.stop();
    this.#track = track;
    if (!track) return;
    const context = new AudioContext();
    this.#context = context;
    // A context made before the first press may be asleep until there is one.
    if (context.state === 'suspended') {
      addEventListener('pointerdown', this.#resume);
      addEventListener('keydown', this.#resume);
      void context.resume();
    }
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const step = () => {
      analyser.getFloatTimeDomainData(samples);
      const now = loudness(samples);
      // Up at once, down slowly: speech flickers, a bar should not.
      shown = now > shown ? now : shown * 0.92;
      this.#onLevel(shown);
      this.#frame = requestAnimationFrame(step);
    };
    step();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    removeEventListener('pointerdown', this.#resume);
    removeEventListener('keydown', this.#resume);
    void this.#context?.close();
    this.#context = null;
    this.#track = null;
    this.#onLevel(0);
  }
}

/**
 * 0 for silence to 1 for full scale, on a logarithmic scale as ears have.
 * @param {ArrayLike<number>} samples -1..1
 */
export function loudness(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i += 1) sum += (samples[i] ?? 0) ** 2;
  const db = 10 * Math.log10(sum / Math.max(1, samples.length) + 1e-12);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}
