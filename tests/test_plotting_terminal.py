"""Loss curves as text: every mark is where the metrics put it, in any terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import CONFIG, LANTERNS, TINY_OPTIONS, charlm, charlm_command, charlm_process, environment, trained_run

from charlm.errors import RunError, SpecError
from charlm.plotting.terminal import ASCII, BLOCKS, LEAST_COLUMNS, MARGIN, ROWS, Marks, terminal_curve
from charlm.runs.figures import Baselines
from charlm.runs.run import Run

pytestmark = pytest.mark.slow

BASELINES = Baselines(characters=5000, ngram_order=5, ngram_nats=2.0, bzip2_nats=2.1, xz_nats=2.2)
Points = list[tuple[int, float]]


def made_up_run(path: Path, training: Points, validation: Points, baselines: Baselines | None = None) -> Run:
    """A run with these losses by step. A step is 40 characters and half a second."""
    run = Run.create(path, CONFIG)
    points = [("train", *point) for point in training] + [("validation", *point) for point in validation]
    run.log([{"step": s, "characters": 40 * s, "seconds": s / 2, "split": split, "nats": n} for split, s, n in points])
    if baselines:
        baselines.save(run)
    return run


def canvas(text: str) -> list[str]:
    """The rows of the canvas, to the right of the y axis."""
    title, *lines = text.splitlines()
    rows, (floor, ticks, *legend) = lines[:ROWS], lines[ROWS:]
    assert title == "nats per character"
    assert floor.strip() and ticks.strip().startswith("0") and "training" in "".join(legend)
    return [row[MARGIN:] for row in rows]


def cells_with(rows: list[str], marks: str) -> set[tuple[int, int]]:
    return {(x, y) for y, row in enumerate(rows) for x, mark in enumerate(row) if mark in marks}


def test_the_curves_are_the_metrics(tmp_path: Path) -> None:
    """Law: x grows to the right, nats upwards; each curve has its own marks, and the star is on the best point."""
    training = [(step, 4.0 - 3 * step / 100) for step in range(101)]  # to 1.0
    validation = [(0, 4.0), (50, 3.0), (75, 1.8), (100, 3.0)]
    rows = canvas(terminal_curve(made_up_run(tmp_path / "run", training, validation, BASELINES)))
    right = 80 - MARGIN - 1
    assert cells_with(rows, BLOCKS.best) == {(round(0.75 * right), round((3.7 - 1.8) / (3.7 - 1) * 15) // 2)}
    dashes = cells_with(rows, BLOCKS.ngram)
    assert {y for _, y in dashes} == {round((3.7 - 2.0) / (3.7 - 1) * 15) // 2} and len(dashes) > 50
    blocks = cells_with(rows, BLOCKS.validation)
    assert {(right, 2)} == {cell for cell in blocks if cell[0] == right}  # round((3.7 - 3) / 2.7 * 15) == 4
    assert {x for x, _ in blocks} >= set(range(round(0.25 * right), round(0.75 * right)))  # none above 3.7
    dots = cells_with(rows, BLOCKS.training)
    assert (right, ROWS - 1) in dots and max(x for x, _ in dots) == right
    assert all(x > 0.05 * right for x, _ in dots)  # early losses higher than all later ones are not shown


def test_the_legend_and_the_axes(tmp_path: Path) -> None:
    """Law: the legend names every mark, with the best and the n-gram's nats; the axes show their ranges."""
    run = made_up_run(tmp_path / "run", [(100, 3.0), (1200, 1.25)], [(600, 1.75), (1200, 1.5)], BASELINES)
    text = terminal_curve(run)
    assert text.endswith("       ▀▄ validation   ˙. training   * best, 1.500   ╌╌ 5-gram, 2.000\n")
    assert text.splitlines()[1].startswith(" 2.00 ") and text.splitlines()[ROWS].startswith(" 1.25 ")
    assert text.splitlines()[-2].endswith("1,200 updates")
    assert terminal_curve(run, against="characters").splitlines()[-2].endswith("48,000 characters seen")
    assert terminal_curve(run, against="minutes").splitlines()[-2].endswith("10 minutes of training")


losses = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e6)), max_size=30)


@given(losses, losses, st.sampled_from([BLOCKS, ASCII]), st.integers(-5, 200), st.booleans())
def test_any_losses(
    tmp_path_factory: pytest.TempPathFactory,
    training: Points,
    validation: Points,
    marks: Marks,
    columns: int,
    has_baselines: bool,
) -> None:
    """Law: for any losses, every row is there, no line is too long, and only the marks are used."""
    folder = tmp_path_factory.mktemp("any")
    run = made_up_run(folder / "run", sorted(training), sorted(validation), BASELINES if has_baselines else None)
    if not training and not validation:
        with pytest.raises(RunError, match="no metrics"):
            terminal_curve(run)
        return
    text = terminal_curve(run, marks=marks, columns=columns)
    rows = canvas(text)
    assert set("".join(rows)) <= {" ", *"".join(marks)}
    assert all(len(line) <= max(columns, LEAST_COLUMNS) for line in text.splitlines())
    assert len(cells_with(rows, marks.best)) == bool(validation)
    assert marks is BLOCKS or text.isascii()


def test_marks_are_distinct() -> None:
    """Law: no character stands for two things, so no colour is needed."""
    for marks in (BLOCKS, ASCII):
        kinds = [set(kind) for kind in (marks.validation, marks.training, marks.ngram, marks.best)]
        assert sum(map(len, kinds)) == len(set.union(*kinds))
    assert "".join(ASCII).isascii()


def test_an_unknown_axis() -> None:
    with pytest.raises(SpecError, match="steps, characters, minutes"):
        terminal_curve(trained_run(), against="hours")


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plot_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: the curve is on standard output, under its run's path if there are several, and no file is written."""
    done = charlm(capsys, "plot", trained_run(), "--terminal")
    assert (done.code, done.err, done.out) == (0, "", terminal_curve(trained_run()))
    two = charlm(capsys, "plot", trained_run(), trained_run(), "--terminal", "--against", "minutes")
    assert two.out == 2 * f"{trained_run()}\n{terminal_curve(trained_run(), against='minutes')}"
    assert not list(here.iterdir())
    assert charlm(capsys, "plot", trained_run(), "--terminal", "-o", "x.png").is_clear_error(2)


def test_a_terminal_without_block_characters(here: Path) -> None:
    """Law: if the output encoding has no block characters, ASCII is used."""
    ascii_locale: Any = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert charlm_process("plot", trained_run(), "--terminal", cwd=here, **ascii_locale).out == terminal_curve(
        trained_run(), marks=ASCII
    )
    latin = charlm_process("plot", trained_run(), "--terminal", cwd=here, PYTHONIOENCODING="latin-1")
    assert latin.out == terminal_curve(trained_run(), marks=ASCII)
    utf8 = charlm_process("plot", trained_run(), "--terminal", cwd=here, PYTHONIOENCODING="utf-8")
    assert utf8.out == terminal_curve(trained_run())


def train_in_a_terminal(here: Path, columns: int, *more: str) -> str:
    (here / "short.txt").write_bytes(LANTERNS.read_bytes()[:2000])
    program, *arguments = charlm_command("train", "short.txt", *TINY_OPTIONS, *more)
    variables: Any = environment(PYTHONIOENCODING="utf-8")
    variables.pop("COLUMNS", None)
    child = pexpect.spawn(
        program,
        arguments,
        cwd=here,
        env=variables,
        encoding="utf-8",
        dimensions=(40, columns),
        timeout=60,
    )
    shown = str(child.read())
    child.close()
    assert child.exitstatus == 0, shown
    return shown


def test_the_end_of_training_in_a_terminal(here: Path) -> None:
    """Law: the curve is printed as wide as the terminal, but not with --quiet or into a pipe."""
    shown = train_in_a_terminal(here, 60).replace("\r\n", "\n")
    assert terminal_curve(here / "checkpoints" / "short", columns=60) in shown
    assert "nats per character\n" not in train_in_a_terminal(here, 60, "--quiet")
    assert "* best" not in charlm_process("train", "short.txt", *TINY_OPTIONS, cwd=here).out
