"use strict";
// The data, elements, and numbers as text. Names come from anywhere: they become text nodes and attributes, never markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const TONES = 8;

/** An element with properties (`class`, `style` variables with --, listeners with on, attributes) and children. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) element.style.setProperty(key, value);
    else if (key in element && typeof value === "boolean") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== ""));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

/** Three digits that matter. */
function digits(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return (size < 0.01 ? value.toPrecision(2) : value.toFixed(places)).replace(/-/g, "−");
}

function ordinal(number) {
  const tens = number % 100;
  const end = tens > 10 && tens < 14 ? "th" : ["th", "st", "nd", "rd"][number % 10] || "th";
  return `${number}${end}`;
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function tone(set) {
  return `tone-${set % TONES}`;
}

function className(index) {
  return DATA.classes[index];
}

/** Classes that pictures show, in order, each with its pictures; what the page calls its cards. */
const CLASSES = (() => {
  const found = new Map();
  DATA.pictures.forEach((picture, index) => {
    picture.index = index;
    if (!found.has(picture.class)) found.set(picture.class, { class: picture.class, pictures: [] });
    found.get(picture.class).pictures.push(picture);
  });
  const all = [...found.values()].sort((a, b) => a.class - b.class);
  for (const one of all) {
    one.name = className(one.class);
    one.key = fold(one.name);
    one.pictures.sort((a, b) => a.set - b.set || a.index - b.index);
  }
  return all;
})();

/** As names are compared: without capitals, accents and underscores. */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[_\s]+/g, " ").trim().toLowerCase();
}

/** Sets that are shown, and who wants to know when that changes. */
const SHOWN = new Set(DATA.sets.keys());
const LISTENERS = [];

function pictureOf(set, classIndex) {
  const one = CLASSES.find(one => one.class === classIndex);
  return one && (one.pictures.find(picture => picture.set === set) || one.pictures[0]);
}

/** How each network ranks the class of a picture: first, among five, or not. */
function marks(picture) {
  return picture.by.map(by => (by.rank === 1 ? "●" : by.rank <= 5 ? "◐" : "○")).join("");
}

function standing(picture, network) {
  const by = picture.by[network];
  return `${DATA.networks[network]}: ${ordinal(by.rank)}, probability ${digits(by.p)}`;
}

/** A small picture that opens the large one. */
function shot(picture, properties) {
  const set = DATA.sets[picture.set].label;
  const said = picture.by.map((_, network) => standing(picture, network)).join("\n");
  return h("button", {
    type: "button", class: `shot ${tone(picture.set)}`, "data-picture": picture.index,
    "aria-label": `${className(picture.class)}, ${set}`, title: `${set}\n${said}`, ...properties,
  },
    h("img", { src: picture.small, alt: "", loading: "lazy", decoding: "async", draggable: "false" }),
    h("span", { class: "under", "aria-hidden": "true" }, marks(picture)));
}
