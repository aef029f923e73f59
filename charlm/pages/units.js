// What a unit was after a character; and the text in the colours of the unit that is chosen.
const legend = [...document.querySelectorAll("#legend li")];
const others = marks.map(mark => mark.className.replace(/\ba\d+/, "").trim()); // classes that are no colour
let unit = data.units[0];

function number(value) {
  return value.toFixed(2).replace("-", "−");
}

function told(place) {
  if (!unit) return [];
  const value = number(unit.values[place] / data.full * unit.peak);
  return [
    element("p", "", `${unit.name} is `, element("strong", "", value)),
    element("p", "", `${unit.feature} is `, element("strong", "", String(unit.followed[place]))),
  ];
}

function choose(place) {
  unit = data.units[place];
  marks.forEach((mark, at) => {
    const level = data.half + Math.round(unit.values[at] * data.half / data.full);
    mark.className = `a${level} ${others[at]}`;
  });
  label();
  if (here >= 0) show(here);
}

function label() {
  legend.forEach((swatch, level) => {
    swatch.textContent = unit ? ((level - data.half) / data.half * unit.peak).toFixed(1).replace("-", "−") : "";
  });
  const follows = unit ? unit.follows.map(([feature, r]) => `${feature} (${r})`).join(", then ") : "nothing";
  document.getElementById("follows").replaceChildren(unit ? unit.name : "No unit", ` follows ${follows}`);
}

document.addEventListener("change", event => {
  if (event.target.name === "unit") choose(Number(event.target.value));
});
label();
