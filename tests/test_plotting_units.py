"""The picture of units: its passages are the text in the units' colours, of any text and any number of units."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from runs import LANTERNS, random_model, trained_run

from charlm.colours import SIGNED_DAY, signed_level
from charlm.errors import SpecError, StorageError
from charlm.inspecting import BINS, Gate, Inspection, Unit, inspect
from charlm.plotting.units import ROWS, WIDTH, draw_units, plot_units
from charlm.text.vocabulary import Vocabulary
from charlm.trained import load

TEXT = LANTERNS.read_text(encoding="utf-8")[:3000]
BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-", ".PNG": b"\x89PNG\r\n\x1a\n"}
GATES = (Gate(0, "z", np.arange(BINS) + 1.0), Gate(0, "r", np.ones(BINS)))


def made_up(text: str, followed: np.ndarray, units: int = 1, gates: tuple[Gate, ...] = GATES) -> Inspection:
    """An inspection whose unit n is n + 1 times the feature, less a half."""
    values = followed.astype(np.float32) - 0.5
    found = tuple(Unit(0, n, "inside brackets", 0.5, (n + 1) * values, followed, ()) for n in range(units))
    return Inspection(text, len(text), False, found, gates)


@pytest.mark.parametrize("ending", BEGINNINGS)
def test_the_ending_is_the_format(ending: str, tmp_path: Path) -> None:
    """Law: a picture of that kind, and nothing else in the folder."""
    plot_units(load(trained_run()).inspect(TEXT), tmp_path / f"units{ending}", "a $title$")
    assert (tmp_path / f"units{ending}").read_bytes().startswith(BEGINNINGS[ending])
    assert [file.name for file in tmp_path.iterdir()] == [f"units{ending}"]


def test_a_panel_is_the_passage_that_shows_it_best() -> None:
    """Law: rows of the text from a line's beginning, each character in the colour of its value."""
    lines = [f"line {n} is so long that it does not fit into one row of the picture\n" for n in range(40)]
    text = "".join(lines)
    followed = np.zeros(len(text))
    start = text.index("line 23")
    followed[start : start + 20] = 1
    axes = draw_units(made_up(text, followed)).subfigs[0].axes[0]
    shown = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
    (picture,) = axes.images
    pixels = np.asarray(picture.get_array())
    assert pixels.shape == (ROWS, WIDTH, 3)
    top = "".join(shown.get((0, x), " ") for x in range(WIDTH))
    begin = at = text.index(top)
    assert text[begin - 1] == "\n" and begin <= start
    for y in range(ROWS):  # even rows are a line's first part, odd ones the rest of it
        row = text[at : at + WIDTH] if y % 2 == 0 else text[at : text.index("\n", at) + 1]
        for x, character in enumerate(row):
            assert shown.get((y, x), " ") == {"\n": "↵"}.get(character, character)
            colour = SIGNED_DAY[signed_level(1 if followed[at + x] else -1)]
            assert "#" + "".join(f"{round(255 * part):02x}" for part in pixels[y, x]) == colour
        at += len(row)
    assert at >= start + 20


@pytest.mark.parametrize("units", [0, 1, 2, 3, 4, 12, 13])
def test_any_number_of_units(units: int) -> None:
    """Law: a panel for each, named and with its r; the gates below, with their shares."""
    figure = draw_units(made_up(TEXT, np.arange(len(TEXT)) % 7, units), "title")
    titles = [axes.get_title("left") for axes in figure.subfigs[0].axes]
    assert titles.count("inside brackets") == units and len(titles) == max(3, -(-units // 3) * 3)
    assert [axes.get_title("right") for axes in figure.subfigs[0].axes][:units] == [
        f"layer0[{n}]   r +0.50" for n in range(units)
    ]
    update, reset = figure.subfigs[1].axes[:2]
    assert update.get_title("left") == "update gate z" and reset.get_title("left") == "reset gate r"
    assert update.get_legend().get_texts()[0].get_text() == f"{10 / 820:.0%} shut, {(37 + 38 + 39 + 40) / 820:.0%} open"


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_what_is_said_of_gates_covers_none_of_them(layers: int) -> None:
    """Law: the legend stands above the bars, also where all of them are as high."""
    even = tuple(Gate(layer, "z", np.ones(40)) for layer in range(layers))
    figure = draw_units(made_up(TEXT, np.arange(len(TEXT)) % 7, 1, even))
    figure.draw_without_rendering()
    axes = figure.subfigs[1].axes[0]
    bars = axes.transData.transform((0, 1 / 40))[1]
    assert axes.get_legend().get_texts()[-1].get_window_extent().y0 > bars


def test_a_line_that_just_fits() -> None:
    """Law: its end gets no row of its own."""
    text = ("a" * WIDTH + "\n" + "b" * (WIDTH - 1) + "\n") * ROWS
    axes = draw_units(made_up(text, np.arange(len(text)) % 7)).subfigs[0].axes[0]
    shown = {(round(t.get_position()[1] - 0.54), round(t.get_position()[0] - 0.5)): t.get_text() for t in axes.texts}
    assert {row: shown[row, 0] for row in range(ROWS)} == {row: "ab"[row % 2] for row in range(ROWS)}
    assert shown[1, WIDTH - 1] == "↵" and shown[0, WIDTH - 1] == "a"


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_every_cell(cell: str, tmp_path: Path) -> None:
    """Law: every kind of network has a picture, of several layers, too; a plain one has no gates."""
    vocabulary = Vocabulary.of(TEXT)
    model, params = random_model(0, vocabulary=len(vocabulary) + 1, cell=cell, layers=3, scale=0.5)
    found = inspect(model, params, vocabulary, [TEXT], units=4)
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
    """Law: formulas are text, what the font lacks is a box, and there is never an error or a warning."""
    plot_units(made_up(text, np.arange(len(text)) % 3), tmp_path / "units.png", text[:200].replace("\n", " "))
    shown = {t.get_text() for t in draw_units(made_up(text, np.arange(len(text)) % 3)).subfigs[0].axes[0].texts}
    assert shown <= set(text) | {"↵", "→", "□"} and not shown & set("語😀\u0301\x07\u202e")


def test_places_that_are_none(tmp_path: Path) -> None:
    """Law: refused by name, and nothing is written."""
    found = made_up(TEXT, np.zeros(len(TEXT)))
    for name, error in (("x.jpg", SpecError), ("x.html", SpecError), ("missing/x.png", StorageError)):
        with pytest.raises(error):
            plot_units(found, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_pyplot_stays_out(tmp_path: Path) -> None:
    """Law: no window system, no global figures: pyplot is never imported."""
    program = (
        "import sys, charlm; found = charlm.load(sys.argv[1]).inspect('some text, \\n' * 20);"
        "charlm.plot_units(found, sys.argv[2]); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained_run()), str(tmp_path / "units.png")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
