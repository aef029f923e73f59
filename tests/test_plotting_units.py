"""The picture of an inspection: passages of any text in the colours of any number of units."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from runs import LANTERNS, random_model

from charlm.analysis.inspection import BINS, Gate, Inspection, Unit, inspect
from charlm.errors import SpecError, StorageError
from charlm.plotting.colours import SIGNED_LIGHT, signed_level
from charlm.plotting.passages import ROWS, WIDTH
from charlm.plotting.units import draw_units, plot_units
from charlm.predict.network import Network
from charlm.text.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

TEXT = LANTERNS.read_text(encoding="utf-8")[:3000]
GATES = (Gate(0, "z", np.arange(BINS) + 1.0), Gate(0, "r", np.ones(BINS)))


def made_up(text: str, feature: np.ndarray, units: int = 1, gates: tuple[Gate, ...] = GATES) -> Inspection:
    """An inspection whose unit n is (n + 1) * (feature - 0.5)."""
    values = feature.astype(np.float32) - 0.5
    found = tuple(Unit(0, n, "inside brackets", 0.5, (n + 1) * values, feature, ()) for n in range(units))
    return Inspection(text, len(text), False, found, gates)


def glyphs(axes: Axes) -> dict[tuple[int, int], str]:
    """What stands in each cell (row, column) of a panel."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}


def legend_of(axes: Axes) -> list[Text]:
    """The texts of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return legend.get_texts()


def test_a_panel_is_the_best_passage() -> None:
    """Law: rows of the text from the beginning of a line, each character on the colour of the unit's value."""
    lines = [f"line {n} is so long that it does not fit into one row of the picture\n" for n in range(40)]
    text = "".join(lines)
    feature = np.zeros(len(text))
    start = text.index("line 23")
    feature[start : start + 20] = 1
    axes = draw_units(made_up(text, feature)).subfigs[0].axes[0]
    shown = glyphs(axes)
    (picture,) = axes.images
    pixels = np.asarray(picture.get_array())
    assert pixels.shape == (ROWS, WIDTH, 3)
    top = "".join(shown.get((0, x), " ") for x in range(WIDTH))
    begin = at = text.index(top)
    assert text[begin - 1] == "\n" and begin <= start
    for y in range(ROWS):  # even rows are the first part of a line, odd rows the rest
        row = text[at : at + WIDTH] if y % 2 == 0 else text[at : text.index("\n", at) + 1]
        for x, character in enumerate(row):
            assert shown.get((y, x), " ") == {"\n": "↵"}.get(character, character)
            colour = SIGNED_LIGHT[signed_level(1 if feature[at + x] else -1)]
            assert "#" + "".join(f"{round(255 * part):02x}" for part in pixels[y, x]) == colour
        at += len(row)
    assert at >= start + 20


@pytest.mark.parametrize("units", [0, 1, 2, 3, 4, 12, 13])
def test_any_number_of_units(units: int) -> None:
    """Law: a panel for each, with its name and r; below them the gates, with the shares of saturated values."""
    figure = draw_units(made_up(TEXT, np.arange(len(TEXT)) % 7, units), "title")
    titles = [axes.get_title("left") for axes in figure.subfigs[0].axes]
    assert titles.count("inside brackets") == units and len(titles) == max(3, -(-units // 3) * 3)
    assert [axes.get_title("right") for axes in figure.subfigs[0].axes][:units] == [
        f"layer0[{n}]   r +0.50" for n in range(units)
    ]
    update, reset = figure.subfigs[1].axes[:2]
    assert update.get_title("left") == "update gate z" and reset.get_title("left") == "reset gate r"
    assert legend_of(update)[0].get_text() == f"{10 / 820:.0%} shut, {(37 + 38 + 39 + 40) / 820:.0%} open"


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_legend_of_a_gate_covers_no_bar(layers: int) -> None:
    """Law: the legend stands above the bars, even if all of them have the full height."""
    even = tuple(Gate(layer, "z", np.ones(40)) for layer in range(layers))
    figure = draw_units(made_up(TEXT, np.arange(len(TEXT)) % 7, 1, even))
    figure.draw_without_rendering()
    axes = figure.subfigs[1].axes[0]
    bars = axes.transData.transform((0, 1 / 40))[1]
    assert legend_of(axes)[-1].get_window_extent().y0 > bars


def test_a_line_that_fills_a_row() -> None:
    """Law: its newline gets no row of its own."""
    text = ("a" * WIDTH + "\n" + "b" * (WIDTH - 1) + "\n") * ROWS
    shown = glyphs(draw_units(made_up(text, np.arange(len(text)) % 7)).subfigs[0].axes[0])
    assert {row: shown[row, 0] for row in range(ROWS)} == {row: "ab"[row % 2] for row in range(ROWS)}
    assert shown[1, WIDTH - 1] == "↵" and shown[0, WIDTH - 1] == "a"


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_every_cell(cell: str, tmp_path: Path) -> None:
    """Law: any cell and number of layers can be drawn; a plain RNN has no gates."""
    vocabulary = Vocabulary.of(TEXT)
    model, params = random_model(0, vocabulary=len(vocabulary) + 1, cell=cell, layers=3, scale=0.5)
    found = inspect(Network(model, params, vocabulary.start), vocabulary, [TEXT], units=4)
    assert len(found.gates) == {"gru": 6, "lstm": 9, "rnn": 0}[cell]
    plot_units(found, tmp_path / "units.svg")
    ElementTree.parse(tmp_path / "units.svg")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 500,
        "\n" * 500,
        "$x^2$ \\frac _ {} %s\n" * 20,
        "語は😀\u0301\x07\t\u202e\u2028\x0c\x85\r\n" * 30,
        "x\n" * 300,
    ],
)
def test_any_text(text: str, tmp_path: Path) -> None:
    """Law: formulas are text, characters that the font lacks are boxes, and there is no error or warning."""
    plot_units(made_up(text, np.arange(len(text)) % 3), tmp_path / "units.png", text[:200].replace("\n", " "))
    shown = {t.get_text() for t in draw_units(made_up(text, np.arange(len(text)) % 3)).subfigs[0].axes[0].texts}
    assert shown <= set(text) | {"↵", "→", "□"} and not shown & set("語😀\u0301\x07\u202e")


def test_impossible_paths(tmp_path: Path) -> None:
    """Law: an unknown suffix or a missing folder is refused, and nothing is written."""
    found = made_up(TEXT, np.zeros(len(TEXT)))
    for name, error in (("x.jpg", SpecError), ("x.html", SpecError), ("missing/x.png", StorageError)):
        with pytest.raises(error):
            plot_units(found, tmp_path / name)
    assert not list(tmp_path.iterdir())
