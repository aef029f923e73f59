// The value of the chosen unit after a character, and the text coloured by it.
const legend = [...document.querySelectorAll("#legend li")];
const otherClasses = characters.map(character => character.className.replace(/\ba\d+/, "").trim());
let unit = data.units[0];

function number(value, digits) {
  return value.toFixed(digits).replace("-", "−");
}

function details(index) {
  if (!unit) return [];
  const value = number(unit.values[index] / data.scale * unit.peak, 2);
  return [
    element("p", "", `${unit.name} is `, element("strong", "", value)),
    element("p", "", `${unit.feature} is `, element("strong", "", String(unit.feature_values[index]))),
  ];
}

function choose(index) {
  unit = data.units[index];
  characters.forEach((character, at) => {
    const level = data.middle + Math.round(unit.values[at] * data.middle / data.scale);
    character.className = `a${level} ${otherClasses[at]}`;
  });
  describe();
  if (current >= 0) show(current);
}

function describe() {
  if (!unit) return;
  legend.forEach((swatch, level) => {
    swatch.textContent = number((level - data.middle) / data.middle * unit.peak, 1);
  });
  const features = unit.features.map(([feature, r]) => `${feature} (${r})`).join(", then ");
  document.getElementById("features").replaceChildren(`${unit.name} follows ${features}`);
}

document.addEventListener("change", event => {
  if (event.target.name === "unit") choose(Number(event.target.value));
});
describe();
