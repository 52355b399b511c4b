// A plane with dots: zoom, move, hover, keys. Near enough, dots become their pictures.

const ROOM = 44; // pixels around what is shown
const THUMBNAILS = 240; // pictures drawn at once, at most
const REACH = 14; // pixels from a dot at which it is meant

class Plot {
  /** `open` is called with a point that was chosen. */
  constructor(box, label, open) {
    this.box = box;
    this.open = open;
    this.images = new Map();
    this.points = [];
    this.lines = [];
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-label": label });
    this.tip = h("div", { class: "tip", hidden: true });
    this.said = h("div", { class: "sr", "aria-live": "polite" });
    box.append(this.canvas, this.tip, this.said);
    this.pen = this.canvas.getContext("2d");
    this.pointers = new Map();
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    new ResizeObserver(() => this.resize()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), this.at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.at(event));
      this.moved = 0;
    });
    canvas.addEventListener("pointermove", event => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => {
      this.pointers.delete(event.pointerId);
      if (end === "pointerup" && this.moved < 5) {
        this.hover(this.near(this.at(event)));
        if (this.active) this.open(this.active);
      }
    });
    canvas.addEventListener("pointerleave", () => { if (!this.pointers.size) this.hover(null); });
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible") && !this.active) this.hover(this.middle(), true); });
    canvas.addEventListener("blur", () => this.hover(null));
    canvas.addEventListener("keydown", event => this.key(event));
  }

  /** New points, with `x` and `y` (upwards), `tone`, `picture`, `title`, `text`; `lines` join two points each. */
  show({ points, lines = [], arrows = false, unit = false, axes = null }) {
    Object.assign(this, { points, lines, arrows, unit, axes, active: null });
    this.tip.hidden = true;
    this.resize();
    this.fit();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.box;
    if (!width) return;
    const dense = window.devicePixelRatio || 1;
    const first = !this.width;
    Object.assign(this, { width, height });
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    this.pen.setTransform(dense, 0, 0, dense, 0, 0);
    if (first) this.fit();
    else this.draw();
  }

  /** Everything into view. */
  fit() {
    if (!this.width) return;
    const range = key => {
      const all = this.points.map(point => point[key]);
      return all.length ? [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))] : [0, 1];
    };
    const [[left, right], [low, high]] = [range("x"), range("y")];
    const [across, up] = [right - left || 1, high - low || 1];
    let [sx, sy] = [(this.width - 2 * ROOM) / across, (this.height - 2 * ROOM) / up];
    // A graph keeps its shape and a few classes do not fill the screen.
    if (this.unit) sx = sy = Math.min(this.width / (across + 1.4), this.height / (up + 1.6), 110);
    this.scale = { x: sx, y: sy };
    this.least = sx * 0.5;
    this.most = this.unit ? Math.max(sx, 220) : sx * 400;
    this.shift = { x: this.width / 2 - (sx * (left + right)) / 2, y: this.height / 2 + (sy * (low + high)) / 2 };
    this.draw();
  }

  screen(point) {
    return { x: this.shift.x + this.scale.x * point.x, y: this.shift.y - this.scale.y * point.y };
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  zoom(factor, at = { x: this.width / 2, y: this.height / 2 }) {
    const wanted = Math.max(this.least, Math.min(this.most, this.scale.x * factor)) / this.scale.x;
    this.scale.x *= wanted;
    this.scale.y *= wanted;
    this.shift.x = at.x + (this.shift.x - at.x) * wanted;
    this.shift.y = at.y + (this.shift.y - at.y) * wanted;
    this.draw();
  }

  pan(x, y) {
    this.shift.x += x;
    this.shift.y += y;
    this.draw();
  }

  move(event) {
    const now = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.hover(this.near(now));
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (others.length) {
      const other = others[0];
      const apart = place => Math.hypot(place.x - other.x, place.y - other.y) || 1;
      this.zoom(apart(now) / apart(before), other);
    } else {
      this.pan(now.x - before.x, now.y - before.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  near(place) {
    const reach = Math.max(REACH, this.side ? this.side * 0.5 : 0);
    let [best, least] = [null, reach];
    for (const point of this.points) {
      const { x, y } = this.screen(point);
      const away = Math.hypot(x - place.x, y - place.y);
      if (away < least) [best, least] = [point, away];
    }
    return best;
  }

  middle() {
    const centre = { x: this.width / 2, y: this.height / 2 };
    return this.closest(centre, () => true);
  }

  closest(from, fits) {
    let [best, least] = [null, Infinity];
    for (const point of this.points) {
      const there = this.screen(point);
      const away = fits(there.x - from.x, there.y - from.y);
      if (away === false) continue;
      const far = away === true ? Math.hypot(there.x - from.x, there.y - from.y) : away;
      if (far < least) [best, least] = [point, far];
    }
    return best;
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way && event.shiftKey) this.pan(-80 * way[0], -80 * way[1]);
    else if (way) {
      const from = this.active ? this.screen(this.active) : { x: this.width / 2, y: this.height / 2 };
      // The nearest one that lies more that way than aside; what is aside counts twice.
      const next = this.closest(from, (x, y) => {
        const along = x * way[0] + y * way[1];
        const aside = Math.abs(x * way[1]) + Math.abs(y * way[0]);
        return along > 0.5 && along >= aside * 0.6 ? along + 2 * aside : false;
      });
      if (next) this.hover(next, true);
    } else if (event.key === "Enter" && this.active) this.open(this.active);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4, this.active ? this.screen(this.active) : undefined);
    else if (event.key === "-" || event.key === "−") this.zoom(1 / 1.4, this.active ? this.screen(this.active) : undefined);
    else if (event.key === "0") this.fit();
    else if (event.key === "Escape") this.hover(null);
    else return;
    event.preventDefault();
  }

  /** Makes a point the one that is talked about; with `say`, into view and aloud. */
  hover(point, say = false) {
    if (point === this.active && !say) return;
    this.active = point;
    this.canvas.classList.toggle("over", Boolean(point));
    this.tip.hidden = !point;
    if (point) {
      const image = point.picture ? h("img", { src: point.picture.small, alt: "" }) : null;
      this.tip.replaceChildren(...[image, h("b", {}, point.title), h("small", {}, point.text)].filter(Boolean));
      if (say) {
        this.said.textContent = `${point.title}, ${point.text}`;
        const { x, y } = this.screen(point);
        const inside = (value, size) => Math.max(ROOM, Math.min(size - ROOM, value)) - value;
        this.pan(inside(x, this.width), inside(y, this.height));
      }
    }
    this.draw();
  }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = null; this.paint(); });
  }

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  paint() {
    if (!this.width || !this.scale) return;
    const { pen, width, height } = this;
    const [ink, soft, line, card] = ["--ink", "--soft", "--line", "--card"].map(name => this.colour(name));
    const tones = Array.from({ length: TONES }, (_, index) => this.colour(`--set-${index}`));
    pen.clearRect(0, 0, width, height);
    if (this.axes) this.paintAxes(line, soft);
    const seen = [];
    for (const point of this.points) {
      const place = this.screen(point);
      point.place = place;
      if (place.x > -60 && place.y > -60 && place.x < width + 60 && place.y < height + 60) seen.push(point);
    }
    // Graphs show pictures once there is room between classes, clouds once few are left.
    const side = this.unit ? this.scale.x * 0.7 : seen.length <= 60 ? 56 : seen.length <= THUMBNAILS ? 40 : 0;
    this.side = (this.unit && side < 22) || seen.length > THUMBNAILS ? 0 : Math.min(side, 150);
    this.paintLines(line, soft, ink);
    const dot = this.unit ? Math.max(2, Math.min(6, this.scale.x * 0.3)) : this.points.length > 800 ? 3 : 4.5;
    for (const [index, tone] of tones.entries()) {
      pen.fillStyle = tone;
      pen.beginPath();
      for (const point of seen) {
        if (point.tone !== index || (this.side && point.picture)) continue;
        pen.moveTo(point.place.x + dot, point.place.y);
        pen.arc(point.place.x, point.place.y, dot, 0, 2 * Math.PI);
      }
      pen.fill();
    }
    if (this.side) for (const point of seen) if (point !== this.active) this.paintPicture(point, tones, card);
    if (this.unit && this.scale.x > 48) this.paintNames(seen, ink, card);
    if (this.active) this.paintActive(tones, ink, card);
    this.paintTip();
  }

  paintAxes(line, soft) {
    const { pen, width, height } = this;
    pen.strokeStyle = line;
    pen.lineWidth = 1;
    const { x, y } = this.screen({ x: 0, y: 0 });
    pen.beginPath();
    pen.moveTo(Math.round(x) + 0.5, 0);
    pen.lineTo(Math.round(x) + 0.5, height);
    pen.moveTo(0, Math.round(y) + 0.5);
    pen.lineTo(width, Math.round(y) + 0.5);
    pen.stroke();
    pen.fillStyle = soft;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.textBaseline = "alphabetic";
    pen.fillText(`${this.axes.x} →`, width - 14, height - 12);
    pen.save();
    pen.translate(20, 14);
    pen.rotate(-Math.PI / 2);
    pen.fillText(`${this.axes.y} →`, 0, 0);
    pen.restore();
  }

  paintLines(line, soft, ink) {
    const { pen } = this;
    const trace = ([from, to]) => {
      const [a, b] = [from.place, to.place];
      const away = Math.hypot(b.x - a.x, b.y - a.y);
      const [dx, dy] = [(b.x - a.x) / (away || 1), (b.y - a.y) / (away || 1)];
      // To the edge of a dot, or of a square picture.
      const gap = this.side ? (this.side / 2 + 4) / Math.max(Math.abs(dx), Math.abs(dy)) : 6;
      if (away < gap && this.arrows) return;
      const end = this.arrows ? { x: b.x - dx * gap, y: b.y - dy * gap } : b;
      pen.moveTo(a.x, a.y);
      pen.lineTo(end.x, end.y);
      if (this.arrows && away > 18) {
        const head = Math.min(7, away * 0.2);
        pen.moveTo(end.x - head * (dx + 0.5 * dy), end.y - head * (dy - 0.5 * dx));
        pen.lineTo(end.x, end.y);
        pen.lineTo(end.x - head * (dx - 0.5 * dy), end.y - head * (dy + 0.5 * dx));
      }
    };
    const own = this.lines.filter(([from, to]) => this.active && (from === this.active || to === this.active));
    const group = this.active ? this.lines.filter(([from]) => from.group !== undefined && from.group === this.active.group) : [];
    if (this.arrows || this.points.length <= 400) {
      pen.strokeStyle = this.arrows ? soft : line;
      pen.globalAlpha = this.arrows ? 0.55 : 1;
      pen.lineWidth = 1;
      pen.beginPath();
      this.lines.forEach(trace);
      pen.stroke();
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = ink;
    pen.lineWidth = 1.5;
    pen.beginPath();
    [...own, ...group].forEach(trace);
    pen.stroke();
  }

  /** The image of a picture once it has arrived. */
  image(picture) {
    let image = this.images.get(picture.index);
    if (!image) {
      image = new Image();
      image.onload = () => this.draw();
      image.src = picture.small;
      this.images.set(picture.index, image);
      // What was looked at long ago makes room.
      if (this.images.size > 3 * THUMBNAILS) this.images.delete(this.images.keys().next().value);
    }
    return image.complete && image.naturalWidth ? image : null;
  }

  paintPicture(point, tones, card, grow = 1) {
    const { pen } = this;
    const { x, y } = point.place;
    const side = (this.side || 40) * grow;
    const image = point.picture && this.image(point.picture);
    pen.fillStyle = tones[point.tone] || card;
    if (!image) {
      pen.beginPath();
      pen.arc(x, y, 5, 0, 2 * Math.PI);
      pen.fill();
      return;
    }
    pen.fillRect(x - side / 2 - 2, y - side / 2 - 2, side + 4, side + 4);
    pen.drawImage(image, x - side / 2, y - side / 2, side, side);
  }

  paintNames(seen, ink, card) {
    const { pen } = this;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.lineWidth = 3;
    pen.strokeStyle = card;
    pen.fillStyle = ink;
    const most = Math.floor(this.scale.x / 6);
    for (const point of seen) {
      const name = point.title.length > most ? `${point.title.slice(0, most - 1)}…` : point.title;
      const y = point.place.y + (this.side && point.picture ? this.side / 2 + 4 : 8);
      pen.strokeText(name, point.place.x, y);
      pen.fillText(name, point.place.x, y);
    }
  }

  paintActive(tones, ink, card) {
    const { pen } = this;
    const { x, y } = this.active.place;
    if (this.side && this.active.picture) this.paintPicture(this.active, tones, card, 1.15);
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    const reach = this.side && this.active.picture ? this.side * 0.575 + 4 : 8;
    pen.beginPath();
    if (this.side && this.active.picture) pen.rect(x - reach, y - reach, 2 * reach, 2 * reach);
    else pen.arc(x, y, reach, 0, 2 * Math.PI);
    pen.stroke();
  }

  /** The words beside the point, where there is room. */
  paintTip() {
    if (!this.active) return;
    const { x, y } = this.active.place;
    const [wide, high] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const off = 14 + (this.side || 0) / 2;
    const left = x + off + wide < this.width ? x + off : x - off - wide;
    const top = Math.max(8, Math.min(this.height - high - 8, y - high / 2));
    this.tip.style.transform = `translate(${Math.round(Math.max(8, left))}px, ${Math.round(top)}px)`;
  }
}
