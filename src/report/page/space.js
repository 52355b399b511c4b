// The graph of nearest neighbours, the clouds of outputs, and the tables.

function options(select, names, chosen) {
  byId(select).replaceChildren(...names.map((name, index) => h("option", { value: index }, name)));
  byId(select).value = String(chosen);
}

const GRAPH = {
  start() {
    const wanted = DATA.meetings[0].findIndex((_, network) => DATA.meetings[0][network].own);
    options("graph-set", DATA.sets.map(set => set.label), 0);
    options("graph-network", DATA.networks, Math.max(wanted, 0));
    for (const id of ["graph-set", "graph-network"]) byId(id).addEventListener("change", () => this.show());
  },

  show() {
    this.plot ||= new Plot(byId("graph"), "Graph of nearest neighbours", point => {
      if (point.picture) PICTURE.open(point.picture, this.pictures);
    });
    const [set, network] = [Number(byId("graph-set").value), Number(byId("graph-network").value)];
    const graph = DATA.graphs[set][network];
    const whose = new Map(graph.edges);
    const pictures = new Map();
    for (const picture of DATA.pictures) if (picture.set === set && !pictures.has(picture.class)) pictures.set(picture.class, picture);
    const points = new Map(graph.places.map(([index, component, [x, y]]) => {
      const next = whose.has(index) ? `leans towards ${className(whose.get(index))}` : "no picture of it in this set";
      const picture = pictures.get(index);
      return [index, { x, y: -y, tone: component % TONES, picture, title: className(index), text: next }];
    }));
    this.pictures = [...points.values()].map(point => point.picture).filter(Boolean);
    const lines = graph.edges.map(([from, to]) => [points.get(from), points.get(to)]);
    this.plot.show({ points: [...points.values()], lines, arrows: true, unit: true });
    const sizes = graph.components;
    const largest = sizes.slice(0, 6).join(", ") + (sizes.length > 6 ? ", …" : "");
    byId("graph-about").textContent = sizes.length
      ? `${count(sizes.length, "component", "components")} of ${largest} classes` : "no class has a neighbour";
  },
};

const SPACE = {
  start() {
    options("space-network", DATA.networks, 0);
    byId("space-network").addEventListener("change", () => { this.axes(); this.show(); });
    for (const id of ["space-x", "space-y"]) byId(id).addEventListener("change", () => this.show());
    LISTENERS.push(() => { if (!byId("view-space").hidden) this.show(); });
    this.axes();
  },

  /** What can be an axis for the chosen network: principal components, then channels of layers. */
  axes() {
    const network = Number(byId("space-network").value);
    const shares = DATA.shares[network];
    const known = DATA.pictures[0].by[network].at.length;
    this.known = shares.slice(0, known).map((share, index) => ({
      name: `component ${index + 1} (${digits(100 * share)} %)`, component: index,
      value: picture => picture.by[network].at[index],
    }));
    for (const plane of DATA.planes.filter(plane => plane.network === network)) {
      plane.channels.forEach((channel, which) => this.known.push({
        name: `${plane.layer}, channel ${channel}`, value: picture => plane.points[picture.index][which],
      }));
    }
    const names = this.known.map(axis => axis.name);
    options("space-x", names, 0);
    options("space-y", names, Math.min(1, names.length - 1));
  },

  show() {
    this.plot ||= new Plot(byId("space"), "Pictures as points of output space", point => PICTURE.open(point.picture, this.pictures));
    const network = Number(byId("space-network").value);
    const [across, upwards] = [this.known[byId("space-x").value], this.known[byId("space-y").value]];
    this.pictures = DATA.pictures.filter(picture => SHOWN.has(picture.set));
    const points = this.pictures.map(picture => ({
      x: across.value(picture), y: upwards.value(picture), tone: picture.set % TONES, picture, group: picture.class,
      title: className(picture.class), text: `${DATA.sets[picture.set].label}; ${standing(picture, network)}`,
    }));
    const classes = Map.groupBy ? Map.groupBy(points, point => point.group) : grouped(points);
    const lines = [...classes.values()].flatMap(all => all.slice(1).map((point, index) => [all[index], point]));
    this.plot.show({ points, lines, axes: { x: across.name, y: upwards.name } });
    const shares = DATA.shares[network];
    const chosen = [across.component, upwards.component];
    byId("shares").setAttribute("aria-label", `Shares of variance: ${shares.map(share => `${digits(100 * share)} %`).join(", ")}`);
    byId("shares").title = "Share of each component in the variance";
    byId("shares").replaceChildren(...shares.map((share, index) => {
      const bar = h("span", { class: chosen.includes(index) ? "on" : "", title: `component ${index + 1}: ${digits(100 * share)} %` });
      bar.style.height = `${(100 * share) / (shares[0] || 1)}%`;
      return bar;
    }));
  },
};

function grouped(points) {
  const groups = new Map();
  for (const point of points) groups.set(point.group, [...(groups.get(point.group) || []), point]);
  return groups;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const NUMBERS = {
  start() {
    byId("numbers").append(
      this.meetings("How often they agree", "Share of each set's pictures whose class the judge names first. Underlined: it had a part in making them.", meeting => meeting.top_1, value => `${digits(100 * value)} %`, value => value),
      this.meetings("How sure they are", "Mean probability of the class.", meeting => meeting.p, digits, value => value),
      this.meetings("How far down the class stands", "Mean rank of the class; 1 is first.", meeting => meeting.rank, digits, value => 1 / value),
      this.networks(), this.sets(), this.skipped(), this.files());
  },

  meetings(title, text, value, format, heat) {
    const head = h("tr", {}, h("th", { scope: "col" }, "Made by"), DATA.networks.map(name => h("th", { scope: "col" }, name)));
    const rows = DATA.sets.map((set, index) => h("tr", {}, h("th", { scope: "row" }, set.label),
      DATA.meetings[index].map(meeting => h("td", {
        class: `heat${meeting.own ? " own" : ""}`, "--heat": meeting.pictures ? heat(value(meeting)) : 0,
        title: count(meeting.pictures, "picture", "pictures"),
      }, meeting.pictures ? format(value(meeting)) : "–"))));
    return this.table(title, text, head, rows);
  },

  /** Mean distances between networks over all pictures. */
  networks() {
    if (!DATA.network_pairs.length) return "";
    const rows = DATA.network_pairs.map(([a, b], pair) => h("tr", {},
      h("th", { scope: "row" }, `${DATA.networks[a]} – ${DATA.networks[b]}`),
      [0, 1, 2].map(which => h("td", {}, digits(mean(DATA.pictures.map(picture => picture.apart[pair][which])))))));
    const head = h("tr", {}, ["Between", "L1", "L2", "cosine"].map(text => h("th", { scope: "col" }, text)));
    return this.table("How far apart the networks are", "Distances between their logits, in the mean over all pictures.", head, rows);
  },

  /** Mean distances between sets, as each network sees them. */
  sets() {
    if (!DATA.set_pairs.length) return "";
    const cell = values => h("td", {}, values.length ? [
      digits(mean(values.map(([, value]) => value[1]))),
      h("small", {}, digits(mean(values.map(([, value]) => value[2])))),
    ] : "–");
    const rows = DATA.set_pairs.map(([a, b], pair) => h("tr", {},
      h("th", { scope: "row" }, DATA.sets[a].label, h("br"), DATA.sets[b].label),
      DATA.networks.map((_, network) => cell(DATA.set_distances[network][pair]))));
    const head = h("tr", {}, ["Between", ...DATA.networks].map(text => h("th", { scope: "col" }, text)));
    const text = "Distances between the logits that a network gives to both sets’ pictures of a class, in the mean over classes: L2, and cosine below it.";
    return this.table("How far apart the sets are", text, head, rows);
  },

  table(title, text, head, rows) {
    return h("section", {}, h("h2", {}, title), h("p", {}, text),
      h("div", { class: "wide" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))));
  },

  skipped() {
    if (!DATA.skipped.length) return "";
    return h("section", {}, h("h2", {}, "Left out"), h("p", {}, "These files could not be compared."),
      h("ul", { class: "skipped" }, DATA.skipped.map(line => h("li", {}, line))));
  },

  files() {
    return h("section", {}, h("h2", {}, "Files"), h("p", {}, "All numbers, for other programs; .npy holds logits, a row for each picture."),
      h("ul", { class: "files" }, DATA.data.map(file => h("li", {}, h("a", { href: `data/${encodeURIComponent(file)}` }, file)))));
  },
};
