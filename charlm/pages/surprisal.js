// What the model expected at a character: its surprisal, and the likeliest alternatives.

function percent(share) { // in hundredths of a per cent
  if (share < 1) return "<0.01%";
  return (share / 100).toFixed(share < 10 ? 2 : share < 1000 ? 1 : 0) + "%";
}

function ordinal(rank) {
  const ending = rank % 100 - rank % 10 === 10 ? "th" : ["th", "st", "nd", "rd"][rank % 10] || "th";
  return rank.toLocaleString("en") + ending;
}

function sentence(place) {
  const bits = data.bits[place] / 100, chance = 2 ** -bits;
  const likely = chance >= 0.01 ? percent(chance * 10000) : "one in " + Math.round(1 / chance).toLocaleString("en");
  const unknown = marks[place].classList.contains("u");
  const choice = unknown ? ", a character it never saw" : `, its ${ordinal(data.ranks[place])} choice`;
  return element("p", "", element("strong", "", bits.toFixed(2) + " bits"), ": " + likely + choice);
}

function choices(place) {
  const list = element("ol", ""), text = marks[place].textContent;
  for (let at = place * data.each; at < (place + 1) * data.each; at++) {
    const character = data.alphabet[data.top[at]], bar = element("span", "");
    bar.style.width = data.shares[at] / 100 + "%";
    const share = element("data", "", percent(data.shares[at]));
    list.append(element("li", character === text ? "right" : "", named(character), bar, share));
  }
  return list;
}

function told(place) {
  return [sentence(place), choices(place)];
}
