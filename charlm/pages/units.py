"""A page that shows a text coloured by what one hidden unit does, for each of the units that follow something."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from charlm.colours import HALF, SIGNED_DAY, SIGNED_NIGHT, signed_level
from charlm.inspecting import GATES, OPEN, SHUT, Gate, Inspection, Unit
from charlm.pages.frame import asset, bars, coloured, label, page
from charlm.pages.style import rules

FULL = 100  # a unit's values are whole numbers up to this, of its largest
TICKS = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
PANEL = """<div id="panel" aria-live="polite"><p class="hint">Point at a character or tap it: here is what the unit was
after it. The arrow keys walk through the text.</p></div>"""


def units_page(inspection: Inspection, *, model: str, source: str) -> bytes:
    """The page as UTF-8. model, source: the names of what read and of what was read."""
    text, units = inspection.text, inspection.units
    facts = [_facts(unit) for unit in units]
    levels = [signed_level(value / FULL) for value in facts[0]["values"]] if units else [HALF] * len(text)
    return page(
        f"{source}: what the units of {model} follow",
        _body(inspection, model, source, coloured(text, [f"a{level}" for level in levels])),
        style=rules("a", SIGNED_DAY, SIGNED_NIGHT),
        script=asset("panel.js") + asset("units.js"),
        data={
            "units": facts,
            "full": FULL,
            "half": HALF,
            "labels": {one: label(one) for one in sorted(set(text)) if label(one) != one},
        },
    )


def _facts(unit: Unit) -> dict[str, Any]:
    """What the script knows of a unit."""
    peak = float(np.abs(unit.values).max(initial=0))
    return {
        "name": unit.name,
        "feature": unit.feature,
        "follows": [[name, _signed(r)] for name, r in ((unit.feature, unit.correlation), *unit.also)],
        "peak": peak,
        "values": np.rint(unit.values * (FULL / (peak or 1))).astype(int).tolist(),
        "followed": np.rint(unit.followed).astype(int).tolist(),
    }


def _body(inspection: Inspection, model: str, source: str, text: str) -> str:
    read = f"{'the first ' if inspection.is_cut else ''}{inspection.characters:,} characters"
    kept = f"; the first {len(inspection.text):,} are shown" if len(inspection.text) < inspection.characters else ""
    warning = f" {inspection.warning}." if inspection.warning else ""
    gates = ' <a href="#gates">Its gates</a> are below the text.' if inspection.gates else ""
    return f"""\
<header>
<h1>What its units follow</h1>
<p><bdi>{escape(model)}</bdi> has read {read} of <bdi>{escape(source)}</bdi>{kept}. r is the correlation of a unit with
what it follows best, over all that was read.{warning}{gates}</p>
</header>
<main>
<aside class="with-choice">
{_choice(inspection.units)}
{PANEL}
</aside>
<section aria-label="The text">
<p id="follows" aria-live="polite"></p>
{_legend()}
{text}
</section>
</main>
{_gates(inspection.gates)}"""


def _choice(units: Sequence[Unit]) -> str:
    if not units:
        return "<p>No unit of this network follows anything here.</p>"
    options = "".join(
        f'<label><input type="radio" name="unit" value="{place}"{" checked" if place == 0 else ""}>'
        f"<span><strong>{escape(unit.feature)}</strong><small>{escape(unit.name)}</small>"
        f'<data value="{unit.correlation:.4f}">r {_signed(unit.correlation)}</data></span></label>'
        for place, unit in enumerate(units)
    )
    return f'<fieldset class="choice"><legend>Unit</legend>{options}</fieldset>'


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def _legend() -> str:
    swatches = "".join(f'<li class="a{level}"></li>' for level in range(len(SIGNED_DAY)))
    return (
        f'<ol class="legend" id="legend" aria-label="Colours: from blue, negative, to orange, positive">{swatches}</ol>'
    )


def _gates(gates: Sequence[Gate]) -> str:
    if not gates:
        return ""
    several = len({gate.layer for gate in gates}) > 1
    charts = "".join(
        f"<figure><figcaption>{escape(_title(gate, several))}</figcaption>"
        f"{bars((gate.counts / gate.counts.sum()).tolist(), _kinds(gate), TICKS, _spoken(gate))}"
        f"<p>{_spoken(gate)}</p></figure>"
        for gate in gates
    )
    return f"""\
<section id="gates">
<h2>How far its gates are open</h2>
<p class="key">All values of all units and characters. Near 0 or 1 a gate is saturated: it decides; between, it
blends.</p>
<div class="charts">{charts}</div>
</section>"""


def _title(gate: Gate, several: bool) -> str:
    return f"{GATES.get(gate.name, gate.name)} gate {gate.name}" + (f", layer{gate.layer}" if several else "")


def _spoken(gate: Gate) -> str:
    return f"{gate.shut:.0%} below {SHUT}, {gate.open:.0%} above {OPEN}"


def _kinds(gate: Gate) -> list[str]:
    count = len(gate.counts)
    low, high = round(SHUT * count), round(OPEN * count)
    return ["shut" if number < low else "open" if number >= high else "" for number in range(count)]
