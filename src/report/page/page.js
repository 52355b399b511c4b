// What holds the page together: views, sets that are shown, keys.

const VIEWS = {
  classes: () => {},
  neighbours: () => GRAPH.show(),
  space: () => SPACE.show(),
  numbers: () => {},
};

function view(name) {
  for (const other of Object.keys(VIEWS)) {
    const chosen = other === name;
    byId(`view-${other}`).hidden = !chosen;
    byId(`tab-${other}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${other}`).tabIndex = chosen ? 0 : -1;
  }
  VIEWS[name]();
}

/** What an address asks for: `#space` a view, `#217` a class. */
function follow() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (Object.hasOwn(VIEWS, wanted)) return view(wanted);
  view("classes");
  const one = /^\d+$/.test(wanted) && CLASSES.find(one => one.class === Number(wanted));
  if (one) PICTURE.open(one.pictures[0], GRID.pictures);
}

function legend() {
  DATA.sets.forEach((set, index) => {
    const chip = h("button", { class: `chip ${tone(index)}`, type: "button", "aria-pressed": "true", title: set.folder }, h("span", {}, set.label));
    chip.addEventListener("click", () => {
      if (SHOWN.has(index)) SHOWN.delete(index);
      else SHOWN.add(index);
      chip.setAttribute("aria-pressed", String(SHOWN.has(index)));
      LISTENERS.forEach(listener => listener());
    });
    byId("legend").append(chip);
  });
  const judges = DATA.networks.join(", ");
  byId("legend").append(h("span", { class: "judges" }, `${judges}:`, h("span", {}, "● first ◐ among five ○ not")));
}

function keys(event) {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || PICTURE.element.open) return;
  const names = Object.keys(VIEWS);
  if (event.key === "/") {
    view("classes");
    byId("search").focus();
    byId("search").select();
  } else if (event.target.closest("[role=tab]") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    const at = names.findIndex(name => byId(`tab-${name}`) === event.target);
    const next = names[(at + (event.key === "ArrowRight" ? 1 : -1) + names.length) % names.length];
    view(next);
    byId(`tab-${next}`).focus();
  } else return;
  event.preventDefault();
}

byId("summary").textContent = [
  count(DATA.pictures.length, "picture", "pictures"), count(CLASSES.length, "class", "classes"),
  count(DATA.sets.length, "set", "sets"), count(DATA.networks.length, "network", "networks"),
].join(" · ");
legend();
GRID.start();
PICTURE.start();
GRAPH.start();
SPACE.start();
NUMBERS.start();
for (const name of Object.keys(VIEWS)) byId(`tab-${name}`).addEventListener("click", () => view(name));
document.addEventListener("keydown", keys);
addEventListener("hashchange", follow);
follow();
