// @ts-check
/**
 * Drawn people for pictures of the product: nobody's face is in them. Runs in the page before its own scripts and gives it
 * `globalThis.drawn.doctor` and `.patient`: functions that draw one frame of 1280 × 720, `at` seconds into the scene.
 */
(() => {
  /** @typedef {CanvasRenderingContext2D} C */
  const TURN = Math.PI * 2;
  /** @param {C} c @param {string} colour @param {number} x @param {number} y @param {number} rx @param {number} ry @param {number} [tilt] */
  const oval = (c, colour, x, y, rx, ry, tilt = 0) => {
    c.fillStyle = colour;
    c.beginPath();
    c.ellipse(x, y, rx, ry, tilt, 0, TURN);
    c.fill();
  };
  /** @param {C} c @param {string} colour @param {number} x @param {number} y @param {number} w @param {number} h @param {number} [r] */
  const box = (c, colour, x, y, w, h, r = 0) => {
    c.fillStyle = colour;
    c.beginPath();
    c.roundRect(x, y, w, h, r);
    c.fill();
  };
  /** @param {C} c @param {string} colour @param {string} path an SVG path */
  const shape = (c, colour, path) => {
    c.fillStyle = colour;
    c.fill(new Path2D(path));
  };
  /** @param {C} c @param {string} colour @param {number} width @param {string} path */
  const line = (c, colour, width, path) => {
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.lineCap = 'round';
    c.stroke(new Path2D(path));
  };
  /** @param {C} c @param {string} top @param {string} bottom */
  const wall = (c, top, bottom) => {
    const paint = c.createLinearGradient(0, 0, 300, 720);
    paint.addColorStop(0, top);
    paint.addColorStop(1, bottom);
    c.fillStyle = paint;
    c.fillRect(0, 0, 1280, 720);
  };

  /**
   * @param {C} c
   * @param {{skin: string, shade: string, brow: string, lips: string, blink: boolean, glasses?: boolean, lines?: boolean}} face
   */
  function head(c, { skin, shade, brow, lips, blink, glasses = false, lines = false }) {
    shape(c, shade, 'M578 430 h124 v110 q-62 60 -124 0 z');
    oval(c, skin, 528, 338, 17, 32);
    oval(c, skin, 752, 338, 17, 32);
    shape(c, skin, 'M530 290 C530 180 750 180 750 290 C752 380 735 425 705 455 C670 487 610 487 575 455 C545 425 528 380 530 290 z');
    for (const x of [590, 690]) {
      if (blink) line(c, brow, 5, `M${x - 17} 331 q17 9 34 0`);
      else {
        oval(c, '#fff', x, 330, 18, 11);
        oval(c, '#3a2a20', x, 330, 9.5, 10.5);
        oval(c, '#fff', x + 3, 326, 3, 3);
        line(c, brow, 4, `M${x - 19} 325 q19 -13 38 0`);
      }
      line(c, brow, 8, `M${x - 24} 297 q24 -15 48 -2`);
    }
    line(c, shade, 5, 'M642 335 q8 32 10 46 q-6 10 -22 7');
    line(c, lips, 7, 'M600 421 q40 30 80 0');
    c.globalAlpha = 0.45;
    oval(c, lips, 566, 390, 24, 13);
    oval(c, lips, 714, 390, 24, 13);
    c.globalAlpha = 1;
    if (lines) {
      line(c, shade, 3, 'M585 270 q55 -10 110 0');
      line(c, shade, 3, 'M580 405 q-8 18 -2 32');
      line(c, shade, 3, 'M700 405 q8 18 2 32');
    }
    if (glasses) {
      line(c, '#4b3b52', 5, 'M553 333 a37 33 0 1 0 74 0 a37 33 0 1 0 -74 0 M653 333 a37 33 0 1 0 74 0 a37 33 0 1 0 -74 0 M627 330 q13 -9 26 0 M553 328 L530 322 M727 328 L750 322');
    }
  }

  /** Somebody in a white coat, in an office. @param {C} c @param {number} at */
  function doctor(c, at) {
    wall(c, '#dfe9e6', '#b9cdc8');
    // A window, a shelf with books, a plant.
    box(c, '#f7fbfb', 70, 60, 280, 360, 10);
    box(c, '#cfe6ee', 88, 78, 116, 324, 4);
    box(c, '#d9ecf1', 216, 78, 116, 324, 4);
    c.save();
    c.clip(new Path2D('M88 78 h116 v324 h-116 z M216 78 h116 v324 h-116 z'));
    oval(c, '#a9cdb4', 120, 400, 70, 60);
    oval(c, '#98c0a5', 290, 410, 80, 56);
    c.restore();
    box(c, '#f7fbfb', 56, 412, 308, 20, 6);
    box(c, '#8a6f55', 890, 250, 320, 16, 3);
    let x = 905;
    for (const [colour, width, height] of /** @type {const} */ ([['#2f6f73', 30, 110], ['#d8a657', 24, 96], ['#b5563c', 34, 118], ['#49607a', 26, 104], ['#e4ded2', 30, 112], ['#7a9a6a', 22, 92]])) {
      box(c, colour, x, 250 - height, width, height, 3);
      x += width + 3;
    }
    const leaf = Math.sin(at / 2) * 0.03;
    for (const tilt of [-0.9, -0.45, 0, 0.45, 0.9]) oval(c, tilt % 0.9 === 0 ? '#3f7d5a' : '#549a6f', 1140 + tilt * 46, 178 + Math.abs(tilt) * 24, 15, 58, tilt + leaf);
    box(c, '#c98a63', 1108, 205, 64, 45, 8);

    const sway = Math.sin(at * 0.7) * 6;
    c.save();
    c.translate(sway, Math.sin(at * 1.1) * 3);
    shape(c, '#2c211c', 'M500 300 C480 120 800 120 780 300 L790 455 C770 500 510 500 490 455 z');
    c.save();
    c.translate(0, 30);
    shape(c, '#f4f6f5', 'M255 720 C265 560 400 520 560 495 L720 495 C880 520 1015 560 1025 720 z');
    shape(c, '#2a8076', 'M560 490 L640 690 L720 490 q-80 40 -160 0 z');
    shape(c, '#e1e7e5', 'M560 488 L520 520 L600 720 L640 720 L640 690 z');
    shape(c, '#e1e7e5', 'M720 488 L760 520 L680 720 L640 720 L640 690 z');
    line(c, '#39474c', 9, 'M545 500 C530 600 560 640 585 660 M735 500 C750 600 735 620 725 645');
    oval(c, '#39474c', 725, 660, 17, 17);
    oval(c, '#aab6b8', 725, 660, 9, 9);
    c.restore();
    head(c, { skin: '#c68a5e', shade: '#b3784f', brow: '#2c211c', lips: '#8f4030', blink: at % 4.1 < 0.14 });
    shape(c, '#2c211c', 'M516 330 C505 150 775 150 764 330 C752 262 722 232 668 222 C610 262 560 250 530 292 C523 305 518 318 516 330 z');
    c.restore();
  }

  /** Somebody with grey hair and glasses, at home. @param {C} c @param {number} at */
  function patient(c, at) {
    wall(c, '#f0e4d2', '#dcc6a6');
    box(c, '#fff8ec', 900, 70, 250, 190, 6);
    box(c, '#c7dbe0', 918, 88, 214, 154, 3);
    shape(c, '#8fb08c', 'M918 242 v-60 q60 -60 110 -10 q50 -40 104 10 v60 z');
    box(c, '#8b7a68', 190, 330, 12, 400);
    shape(c, '#f6d9a0', 'M120 210 h152 l40 130 h-232 z');
    shape(c, '#a8615a', 'M60 720 V560 q0 -60 70 -60 h1020 q70 0 70 60 V720 z');
    const sway = Math.sin(at * 0.6 + 1) * 6;
    c.save();
    c.translate(sway, Math.sin(at) * 3);
    for (const [x, y, r] of /** @type {const} */ ([[520, 250, 52], [560, 185, 60], [640, 160, 66], [720, 185, 60], [762, 250, 52], [770, 320, 40], [512, 320, 40]])) oval(c, '#cfd2d4', x, y, r, r);
    c.save();
    c.translate(0, 30);
    shape(c, '#5a6f9c', 'M265 720 C275 570 410 525 560 497 L720 497 C870 525 1005 570 1015 720 z');
    shape(c, '#efe6da', 'M565 492 q75 70 150 0 L690 720 h-100 z');
    line(c, '#4a5d86', 6, 'M567 495 L592 720 M713 495 L688 720');
    c.restore();
    head(c, { skin: '#efc7a8', shade: '#e0ae8d', brow: '#9a9a9a', lips: '#b4605a', blink: at % 3.3 < 0.14, glasses: true, lines: true });
    for (const [x, y, r] of /** @type {const} */ ([[556, 232, 36], [606, 208, 40], [664, 205, 40], [716, 228, 36]])) oval(c, '#dadcdd', x, y, r, r * 0.8);
    c.restore();
  }

  /** @type {any} */ (globalThis).drawn = {
    doctor,
    patient,
    /**
     * A camera's track that shows one of them.
     * @param {'doctor' | 'patient'} who
     */
    track(who) {
      const canvas = document.createElement('canvas');
      canvas.width = 1280;
      canvas.height = 720;
      const c = /** @type {C} */ (canvas.getContext('2d'));
      const start = performance.now();
      const draw = () => (who === 'doctor' ? doctor : patient)(c, (performance.now() - start) / 1_000);
      draw();
      setInterval(draw, 40);
      return canvas.captureStream(25).getVideoTracks()[0] ?? null;
    },
  };
})();
