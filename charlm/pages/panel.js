"use strict";
// Shared by all pages: a panel with details of the character that is pointed at, tapped, or reached with the keys.
// A page defines `details(index)`, the elements of the panel for one character.
const data = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("panel");
const characters = [...document.querySelectorAll(".text b")];
const indices = new Map(characters.map((character, index) => [character, index]));
const CONTEXT = 16; // characters shown before the current one
let current = -1, pinned = false;

function element(name, className, ...content) {
  const created = document.createElement(name);
  if (className) created.className = className;
  created.append(...content);
  return created;
}

function labelled(character) {
  const label = data.labels[character];
  return element("bdi", label || character.length > 2 ? "name" : "", label || character);
}

function context(index) {
  const before = characters.slice(Math.max(0, index - CONTEXT), index).map(one => one.textContent).join("");
  const shown = element("strong", "", labelled(characters[index].textContent));
  return element("p", "before", "… ", element("bdi", "", before.replaceAll("\n", "↵")), " ", shown);
}

function show(index) {
  if (current >= 0) characters[current].classList.remove("current");
  current = index;
  characters[current].classList.add("current");
  panel.replaceChildren(context(index), ...details(index));
}

document.addEventListener("mouseover", event => {
  const index = indices.get(event.target);
  if (index !== undefined && !pinned) show(index);
});

document.addEventListener("click", event => {
  const index = indices.get(event.target);
  if (index === undefined || !getSelection().isCollapsed) return;
  pinned = !(pinned && index === current);
  show(index);
});

document.addEventListener("keydown", event => {
  const text = event.target.closest(".text");
  if (!text || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.key === "Escape") pinned = false;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], first = indices.get(text.firstElementChild);
  if (!step || first === undefined) return;
  event.preventDefault();
  const next = current < 0 ? first : current + step;
  if (next < 0 || next >= characters.length) return;
  pinned = true;
  show(next);
  characters[next].scrollIntoView({ block: "nearest" });
});
