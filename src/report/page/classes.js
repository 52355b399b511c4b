// The grid of classes: search, order, keys.

const SORTS = (() => {
  const pictures = value => ({
    of: ["all sets, mean", ...DATA.sets.map(set => set.label)],
    value(one, which) {
      const chosen = one.pictures.filter(picture => (which === 0 ? SHOWN.has(picture.set) : picture.set === which - 1));
      return chosen.reduce((sum, picture) => sum + value(picture), 0) / chosen.length;
    },
  });
  const sorts = [
    { group: "Class", name: "number", value: one => one.class, plain: true },
    { group: "Class", name: "name", text: one => one.key, plain: true },
  ];
  DATA.networks.forEach((network, index) => {
    const by = (name, key, down) =>
      sorts.push({ group: `Seen by ${network}`, name: `${name}, ${network}`, down, ...pictures(picture => picture.by[index][key]) });
    by("probability", "p", true);
    by("rank", "rank", false);
    by("margin", "margin", true);
    by("logit", "logit", true);
    by("nearest picture", "distance", false);
  });
  const metrics = ["L1", "L2", "cosine"];
  DATA.network_pairs.forEach(([a, b], pair) => metrics.forEach((metric, index) => sorts.push({
    group: "Between networks", name: `${metric}, ${DATA.networks[a]} – ${DATA.networks[b]}`, down: true,
    ...pictures(picture => picture.apart[pair][index]),
  })));
  const pairs = DATA.set_pairs.map(([a, b]) => `${DATA.sets[a].label} – ${DATA.sets[b].label}`);
  DATA.networks.forEach((network, index) => {
    const tables = DATA.set_distances[index].map(pair => new Map(pair));
    if (tables.length) metrics.forEach((metric, which) => sorts.push({
      group: "Between sets", name: `${metric} between sets, ${network}`, down: true, of: ["all pairs, mean", ...pairs],
      value(one, pair) {
        const chosen = (pair === 0 ? tables : [tables[pair - 1]]).filter(table => table.has(one.class));
        return chosen.reduce((sum, table) => sum + table.get(one.class)[which], 0) / chosen.length;
      },
    }));
  });
  return sorts;
})();

for (const picture of DATA.pictures) for (const by of picture.by) by.distance = by.near ? by.near[1] : NaN;

const GRID = {
  sort: SORTS[0], which: 0, down: false, cards: new Map(),
  /** Cards in their order, and all their pictures that are shown. */
  listed: [], pictures: [],

  start() {
    for (const one of CLASSES) this.cards.set(one.class, this.card(one));
    const groups = new Map();
    SORTS.forEach((sort, index) => {
      if (!groups.has(sort.group)) groups.set(sort.group, h("optgroup", { label: sort.group }));
      groups.get(sort.group).append(h("option", { value: index }, sort.name));
    });
    byId("sort").append(...groups.values());
    byId("sort").addEventListener("change", event => this.sortBy(SORTS[event.target.value]));
    byId("which").addEventListener("change", event => { this.which = Number(event.target.value); this.list(); });
    byId("order").addEventListener("click", () => { this.down = !this.down; this.list(); });
    byId("search").addEventListener("input", () => this.list());
    byId("size").addEventListener("input", event => document.documentElement.style.setProperty("--pic", `${event.target.value}px`));
    byId("search").addEventListener("keydown", event => {
      if (event.key === "Escape") { event.target.value = ""; this.list(); event.target.blur(); }
      if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); this.focus(0); }
    });
    byId("grid").addEventListener("keydown", event => this.key(event));
    byId("grid").addEventListener("click", event => {
      const button = event.target.closest(".shot");
      if (button) PICTURE.open(DATA.pictures[button.dataset.picture], this.pictures);
    });
    // Arrow keys move inside the grid, Tab leaves it.
    byId("grid").addEventListener("focusin", event => this.rove(event.target.closest(".shot")));
    LISTENERS.push(() => this.list());
    this.sortBy(SORTS[0]);
  },

  card(one) {
    const value = h("span", { class: "value" });
    const shots = one.pictures.map(picture => shot(picture, { tabindex: "-1" }));
    const element = h("article", { class: "class" },
      h("header", {}, h("h2", { title: one.name }, one.name), h("span", { class: "number" }, String(one.class)), value),
      h("div", { class: "row" }, shots));
    return { one, element, value, shots };
  },

  sortBy(sort) {
    this.sort = sort;
    this.which = 0;
    this.down = Boolean(sort.down);
    byId("sort").value = String(SORTS.indexOf(sort));
    byId("which-label").hidden = !sort.of || sort.of.length < 3;
    byId("which").replaceChildren(...(sort.of || []).map((name, index) => h("option", { value: index }, name)));
    this.list();
  },

  list() {
    const wanted = fold(byId("search").value);
    const fits = one => wanted === "" || one.key.includes(wanted) || String(one.class) === wanted;
    const visible = one => one.pictures.some(picture => SHOWN.has(picture.set));
    const found = CLASSES.filter(one => fits(one) && visible(one));
    const sign = this.down ? -1 : 1;
    const key = this.sort.text || (one => this.sort.value(one, this.which));
    const keys = new Map(found.map(one => [one, key(one)]));
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
    found.sort((a, b) => {
      const [left, right] = [keys.get(a), keys.get(b)];
      // What has no number comes last in either order.
      const [noLeft, noRight] = [Number.isNaN(left), Number.isNaN(right)];
      if (noLeft || noRight) return noLeft - noRight || a.class - b.class;
      return sign * order(left, right) || a.class - b.class;
    });
    this.pictures = [];
    this.listed = found.map(one => this.cards.get(one.class));
    for (const card of this.listed) {
      card.value.textContent = this.sort.plain ? "" : digits(keys.get(card.one));
      card.one.pictures.forEach((picture, index) => {
        card.shots[index].hidden = !SHOWN.has(picture.set);
        if (SHOWN.has(picture.set)) this.pictures.push(picture);
      });
    }
    byId("grid").replaceChildren(...this.listed.map(card => card.element));
    const across = Math.max(1, ...this.listed.slice(0, 200).map(card => card.shots.filter(shot => !shot.hidden).length));
    byId("grid").style.setProperty("--across", Math.min(across, 8));
    byId("order").textContent = this.down ? "↓" : "↑";
    byId("count").textContent = found.length === CLASSES.length ? count(found.length, "class", "classes") : `${found.length} of ${count(CLASSES.length, "class", "classes")}`;
    byId("nothing").hidden = found.length > 0;
    byId("nothing").textContent = wanted ? `No class is called “${byId("search").value.trim()}”.` : "All sets are hidden.";
    const first = this.listed.length && this.listed[0].shots.find(shot => !shot.hidden);
    if (first) this.rove(first);
  },

  /** Tab finds one picture of the grid. */
  rove(button) {
    if (!button || button === this.tabbed) return;
    if (this.tabbed) this.tabbed.tabIndex = -1;
    this.tabbed = button;
    button.tabIndex = 0;
  },

  focus(at) {
    const picture = this.pictures[Math.max(0, Math.min(at, this.pictures.length - 1))];
    if (picture) this.show(picture).focus();
  },

  /** The button of a picture, scrolled into view. */
  show(picture) {
    const card = this.cards.get(picture.class);
    const button = card.shots[card.one.pictures.indexOf(picture)];
    card.element.scrollIntoView({ block: "nearest" });
    return button;
  },

  key(event) {
    const button = event.target.closest(".shot");
    if (!button) return;
    const picture = DATA.pictures[button.dataset.picture];
    const at = this.pictures.indexOf(picture);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const line = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) this.focus(at + step);
    else if (event.key === "Home") this.focus(0);
    else if (event.key === "End") this.focus(this.pictures.length - 1);
    else if (line) {
      const cards = this.listed;
      const top = cards[0].element.offsetTop;
      const columns = cards.findIndex(card => card.element.offsetTop !== top);
      const here = cards.indexOf(this.cards.get(picture.class));
      const card = cards[here + line * (columns < 0 ? cards.length : columns)];
      if (!card) return;
      const shots = shots => shots.filter(shot => !shot.hidden);
      const slot = shots(cards[here].shots).indexOf(button);
      const there = shots(card.shots);
      card.element.scrollIntoView({ block: "nearest" });
      there[Math.min(slot, there.length - 1)].focus();
    } else return;
    event.preventDefault();
  },
};
