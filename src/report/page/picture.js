// The large picture with all that is known of it.

const PICTURE = {
  element: byId("picture"), picture: null, among: [],

  start() {
    this.element.addEventListener("click", event => {
      if (event.target === this.element) this.element.close();
      const button = event.target.closest(".shot");
      if (button) this.show(DATA.pictures[button.dataset.picture]);
    });
    this.element.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (step) this.step(step);
      else if (turn) this.turn(turn);
      else return;
      event.preventDefault();
    });
    this.element.addEventListener("close", () => {
      document.documentElement.style.overflow = "";
      if (!byId("view-classes").hidden && this.among.includes(this.picture)) GRID.show(this.picture).focus();
      else if (this.opener) this.opener.focus();
    });
  },

  /** Opens a picture; `among` are those that the arrow keys go through. */
  open(picture, among) {
    this.among = among && among.length ? among : DATA.pictures;
    this.opener = document.activeElement;
    this.show(picture);
    document.documentElement.style.overflow = "hidden";
    if (!this.element.open) this.element.showModal();
    this.element.querySelector(".close").focus();
  },

  /** To the next class that is shown, in the same set where it has one. */
  step(by) {
    const classes = [...new Set(this.among.map(picture => picture.class))];
    const at = classes.indexOf(this.picture.class);
    const next = classes[(Math.max(at, 0) + by + classes.length) % classes.length];
    const there = this.among.filter(picture => picture.class === next);
    this.show(there.find(picture => picture.set === this.picture.set) || there[0]);
  },

  /** To another picture of the same class. */
  turn(by) {
    const all = this.siblings();
    this.show(all[(all.indexOf(this.picture) + by + all.length) % all.length]);
  },

  siblings() {
    return CLASSES.find(one => one.class === this.picture.class).pictures;
  },

  show(picture) {
    this.picture = picture;
    const focused = this.element.contains(document.activeElement) && document.activeElement.dataset.key;
    const button = (key, label, text, onclick) =>
      h("button", { class: `icon ${key}`, type: "button", "data-key": key, "aria-label": label, title: label, onclick }, text);
    const set = DATA.sets[picture.set];
    const siblings = this.siblings();
    const strip = siblings.map(one => shot(one, { "aria-current": String(one === picture) }));
    const maker = picture.maker && picture.maker !== set.label ? `made by ${picture.maker}` : "";
    const facts = [picture.file, maker, picture.seed === null ? "" : `seed ${picture.seed}`].filter(Boolean);
    this.element.replaceChildren(h("div", { class: "open" },
      h("div", { class: "stage" },
        h("div", { class: "big" }, h("img", { src: picture.large, alt: `${className(picture.class)}, ${set.label}` })),
        siblings.length > 1 ? h("div", { class: "strip" }, strip) : null),
      h("div", { class: "facts" },
        h("header", {},
          h("h2", { id: "picture-name" }, className(picture.class), h("span", { class: "number" }, String(picture.class))),
          h("div", { class: "turn" },
            button("back", "Class before (←)", "←", () => this.step(-1)),
            button("on", "Next class (→)", "→", () => this.step(1)),
            button("close", "Close (Esc)", "✕", () => this.element.close()))),
        h("p", { class: "who" }, h("span", { class: `swatch ${tone(picture.set)}` }), set.label, h("span", {}, facts.join(" · "))),
        DATA.networks.map((_, network) => this.seen(picture, network)),
        this.apart(picture),
        this.words("Recipe", DATA.recipes[picture.recipe]),
        this.words("Run", DATA.runs[picture.run]))));
    if (focused) this.element.querySelector(`.${focused}`)?.focus();
  },

  /** What a network makes of a picture: its largest logits, the target in red, and who is near. */
  seen(picture, network) {
    const by = picture.by[network];
    const top = by.top.map(([index, logit]) => ({ index, logit }));
    const missing = !top.some(row => row.index === picture.class);
    if (missing) top.push({ index: picture.class, logit: by.logit });
    const high = Math.max(0, ...top.map(row => row.logit));
    const low = Math.min(0, ...top.map(row => row.logit));
    const span = high - low || 1;
    const rows = top.flatMap(({ index, logit }) => {
      const target = index === picture.class ? "is-target" : "";
      const bar = h("i", { class: target });
      bar.style.left = `${(100 * (Math.min(logit, 0) - low)) / span}%`;
      bar.style.width = `${(100 * Math.abs(logit)) / span}%`;
      const name = missing && target ? `${className(index)} (${ordinal(by.rank)})` : className(index);
      return [
        h("span", { class: target, title: name }, name),
        h("span", { class: "track" }, bar),
        h("span", { class: `amount ${target}` }, digits(logit)),
      ];
    });
    const near = [];
    const other = by.other === null ? null : pictureOf(picture.set, by.other);
    if (by.other !== null) {
      near.push(h("div", {}, other ? shot(other) : null, h("span", {}, "leans towards", h("b", {}, className(by.other)))));
    }
    if (by.near) {
      const there = DATA.pictures[by.near[0]];
      near.push(h("div", {}, shot(there), h("span", {}, `nearest, ${digits(by.near[1])} away`, h("b", {}, className(there.class)))));
    }
    return h("section", { class: "seen" },
      h("h3", {}, DATA.networks[network],
        h("small", {}, `${ordinal(by.rank)} of ${DATA.classes.length} · probability ${digits(by.p)} · margin ${digits(by.margin)}`)),
      h("div", { class: "bars" }, rows),
      h("div", { class: "near" }, near));
  },

  /** Distances between the networks' outputs. */
  apart(picture) {
    if (!picture.apart.length) return null;
    const row = ([a, b], pair) => h("tr", {},
      h("th", { scope: "row" }, `${DATA.networks[a]} – ${DATA.networks[b]}`),
      picture.apart[pair].map(value => h("td", {}, digits(value))));
    const head = h("tr", {}, ["Between networks", "L1", "L2", "cosine"].map(text => h("th", { scope: "col" }, text)));
    return h("section", { class: "seen" }, h("div", { class: "wide" },
      h("table", {}, h("thead", {}, head), h("tbody", {}, DATA.network_pairs.map(row)))));
  },

  words(title, text) {
    return text === undefined || text === null ? null : h("details", {}, h("summary", {}, title), h("pre", {}, text));
  },
};
