// The surprisal of a character, and the characters that the model thought likeliest in its place.

function percent(probability) { // in hundredths of a per cent
  if (probability < 1) return "<0.01%";
  return (probability / 100).toFixed(probability < 10 ? 2 : probability < 1000 ? 1 : 0) + "%";
}

function ordinal(rank) {
  const suffix = rank % 100 - rank % 10 === 10 ? "th" : ["th", "st", "nd", "rd"][rank % 10] || "th";
  return rank.toLocaleString("en") + suffix;
}

function surprisal(index) {
  const bits = data.bits[index] / 100, p = 2 ** -bits;
  const chance = p >= 0.01 ? percent(p * 10000) : "one in " + Math.round(1 / p).toLocaleString("en");
  const unknown = characters[index].classList.contains("u");
  const choice = unknown ? ", an unknown character" : `, the model's ${ordinal(data.ranks[index])} choice`;
  return element("p", "", element("strong", "", bits.toFixed(2) + " bits"), ": " + chance + choice);
}

function alternatives(index) {
  const list = element("ol", ""), text = characters[index].textContent;
  for (let at = index * data.k; at < (index + 1) * data.k; at++) {
    const character = data.alphabet[data.top[at]], bar = element("span", "");
    bar.style.width = data.probabilities[at] / 100 + "%";
    const probability = element("data", "", percent(data.probabilities[at]));
    list.append(element("li", character === text ? "right" : "", labelled(character), bar, probability));
  }
  return list;
}

function details(index) {
  return [surprisal(index), alternatives(index)];
}
