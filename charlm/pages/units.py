"""A page that shows a text coloured by the values of a hidden unit, which the reader chooses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from charlm.analysis.inspection import OPEN, SHUT, Gate, Inspection, Unit
from charlm.pages.elements import coloured_text, histogram, label
from charlm.pages.frame import asset, page
from charlm.pages.style import level_rules
from charlm.plotting.colours import MIDDLE, SIGNED_DARK, SIGNED_LIGHT, signed_level

SCALE = 100  # a unit's values are sent as integers, up to this for the largest
TICKS = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
PANEL = """<div id="panel" aria-live="polite"><p class="hint">Point at a character, or tap it, to see the unit's value
after it. The arrow keys move through the text.</p></div>"""


def units_page(inspection: Inspection, *, model: str, source: str) -> bytes:
    """The page as UTF-8. model, source: the names of the model and of the text."""
    text = inspection.text
    units = [_unit_data(unit) for unit in inspection.units]
    levels = [signed_level(value / SCALE) for value in units[0]["values"]] if units else [MIDDLE] * len(text)
    return page(
        f"{source}: what the units of {model} follow",
        _body(inspection, model, source, coloured_text(text, [f"a{level}" for level in levels])),
        style=level_rules("a", SIGNED_LIGHT, SIGNED_DARK),
        script=asset("panel.js") + asset("units.js"),
        data={
            "units": units,
            "scale": SCALE,
            "middle": MIDDLE,
            "labels": {one: label(one) for one in sorted(set(text)) if label(one) != one},
        },
    )


def _unit_data(unit: Unit) -> dict[str, Any]:
    """What the script reads about a unit."""
    peak = float(np.abs(unit.values).max(initial=0))
    return {
        "name": unit.name,
        "feature": unit.feature,
        "features": [[name, _signed(r)] for name, r in ((unit.feature, unit.correlation), *unit.next_best)],
        "peak": peak,
        "values": np.rint(unit.values * (SCALE / (peak or 1))).astype(int).tolist(),
        "feature_values": np.rint(unit.feature_values).astype(int).tolist(),
    }


def _body(inspection: Inspection, model: str, source: str, text: str) -> str:
    read = f"{'the first ' if inspection.is_truncated else ''}{inspection.characters:,} characters"
    shown = f"; the first {len(inspection.text):,} are shown" if len(inspection.text) < inspection.characters else ""
    warning = f" {inspection.warning}." if inspection.warning else ""
    gates = ' <a href="#gates">Histograms of the gates</a> are below the text.' if inspection.gates else ""
    return f"""\
<header>
<h1>What the hidden units follow</h1>
<p><bdi>{escape(model)}</bdi> read {read} of <bdi>{escape(source)}</bdi>{shown}. r is the correlation of a unit with the
feature that it follows, over all characters read.{warning}{gates}</p>
</header>
<main>
<aside class="with-choice">
{_choice(inspection.units)}
{PANEL}
</aside>
<section aria-label="The text">
<p id="features" aria-live="polite"></p>
{_legend()}
{text}
</section>
</main>
{_gates(inspection.gates)}"""


def _choice(units: Sequence[Unit]) -> str:
    if not units:
        return "<p>No hidden unit is correlated with any feature of this text.</p>"
    options = "".join(
        f'<label><input type="radio" name="unit" value="{index}"{" checked" if index == 0 else ""}>'
        f"<span><strong>{escape(unit.feature)}</strong><small>{escape(unit.name)}</small>"
        f'<data value="{unit.correlation:.4f}">r {_signed(unit.correlation)}</data></span></label>'
        for index, unit in enumerate(units)
    )
    return f'<fieldset class="choice"><legend>Unit</legend>{options}</fieldset>'


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def _legend() -> str:
    swatches = "".join(f'<li class="a{level}"></li>' for level in range(len(SIGNED_LIGHT)))
    return (
        f'<ol class="legend" id="legend" aria-label="Colours: from blue, negative, to orange, positive">{swatches}</ol>'
    )


def _gates(gates: Sequence[Gate]) -> str:
    if not gates:
        return ""
    several_layers = len({gate.layer for gate in gates}) > 1
    charts = "".join(
        f"<figure><figcaption>{escape(gate.long_name)}{f', layer{gate.layer}' if several_layers else ''}</figcaption>"
        f"{histogram(gate.shares.tolist(), _bar_classes(gate), TICKS, _description(gate))}"
        f"<p>{_description(gate)}</p></figure>"
        for gate in gates
    )
    return f"""\
<section id="gates">
<h2>How far the gates are open</h2>
<p class="key">The values of all units at all characters. Near 0, shut, and near 1, open, a gate is saturated.</p>
<div class="charts">{charts}</div>
</section>"""


def _description(gate: Gate) -> str:
    return f"{gate.shut:.0%} below {SHUT}, {gate.open:.0%} above {OPEN}"


def _bar_classes(gate: Gate) -> list[str]:
    bins = len(gate.counts)
    shut, opened = round(SHUT * bins), round(OPEN * bins)
    return ["shut" if number < shut else "open" if number >= opened else "" for number in range(bins)]
