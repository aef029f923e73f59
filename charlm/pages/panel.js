"use strict";
// What both pages share: a panel that tells of the character under the pointer, the finger or the keys.
const data = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("panel");
const marks = [...document.querySelectorAll(".text b")];
const places = new Map(marks.map((mark, place) => [mark, place]));
const BEFORE = 16; // characters shown before the one that is asked about
let here = -1, pinned = false;

function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function named(character) {
  const label = data.labels[character];
  return element("bdi", label || character.length > 2 ? "said" : "", label || character);
}

function context(place) {
  const before = marks.slice(Math.max(0, place - BEFORE), place).map(mark => mark.textContent).join("");
  const asked = element("strong", "", named(marks[place].textContent));
  return element("p", "before", "… ", element("bdi", "", before.replaceAll("\n", "↵")), " ", asked);
}

function show(place) {
  if (here >= 0) marks[here].classList.remove("here");
  here = place;
  marks[here].classList.add("here");
  panel.replaceChildren(context(place), ...told(place)); // told: of the page
}

document.addEventListener("mouseover", event => {
  const place = places.get(event.target);
  if (place !== undefined && !pinned) show(place);
});

document.addEventListener("click", event => {
  const place = places.get(event.target);
  if (place === undefined || !getSelection().isCollapsed) return;
  pinned = !(pinned && place === here);
  show(place);
});

document.addEventListener("keydown", event => {
  const text = event.target.closest(".text");
  if (!text || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.key === "Escape") pinned = false;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], first = places.get(text.firstElementChild);
  if (!step || first === undefined) return;
  event.preventDefault();
  const next = here < 0 ? first : here + step;
  if (next < 0 || next >= marks.length) return;
  pinned = true;
  show(next);
  marks[next].scrollIntoView({ block: "nearest" });
});
