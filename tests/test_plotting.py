"""Pictures of losses show the metrics of runs, in every format, without a window system."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from runs import CONFIG, charlm_process, copy_of_trained_run, trained_run

from charlm.errors import CharlmError, RunError, SpecError, StorageError
from charlm.plotting.loss import draw, plot
from charlm.runs.figures import Baselines
from charlm.runs.run import Run

pytestmark = pytest.mark.slow

FIRST_BYTES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-", ".PNG": b"\x89PNG\r\n\x1a\n"}

Record = Mapping[str, Any]


def made_up_run(path: Path, records: list[Record], name: str = "x") -> Path:
    run = Run.create(path, CONFIG | {"corpus": CONFIG["corpus"] | {"name": name}})
    run.log(records)
    return run.path


def record(step: int, split: str, nats: float) -> Record:
    return {"step": step, "characters": 40 * step, "seconds": step / 2, "split": split, "nats": nats}


def points(line: Line2D) -> list[list[float]]:
    """The x and the y values of a curve."""
    return [np.asarray(values).tolist() for values in line.get_data()]


def horizontal_lines(axes: Axes) -> set[float]:
    """The y values of the lines across the whole width."""
    return {y[0] for x, y in map(points, axes.lines) if x == [0, 1]}


def labels(axes: Axes) -> list[str]:
    """The texts of the legend."""
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


SOME = [record(1, "train", 4.0), record(2, "train", 3.0), record(2, "validation", 3.5), record(3, "validation", 3.25)]


@pytest.mark.parametrize("suffix", FIRST_BYTES)
def test_the_suffix_chooses_the_format(suffix: str, tmp_path: Path) -> None:
    """Law: a picture of that format, and nothing else in the folder."""
    plot([trained_run()], tmp_path / f"loss{suffix}")
    assert (tmp_path / f"loss{suffix}").read_bytes().startswith(FIRST_BYTES[suffix])
    assert [file.name for file in tmp_path.iterdir()] == [f"loss{suffix}"]


@pytest.mark.parametrize(
    ("against", "expected"), [("steps", [1, 2]), ("characters", [40, 80]), ("minutes", [1 / 120, 1 / 60])]
)
def test_the_curves_are_the_metrics(against: str, expected: list[float], tmp_path: Path) -> None:
    """Law: every record is a point of its curve, and the star is the best one."""
    figure = draw([Run.open(made_up_run(tmp_path / "run", SOME))], against)
    training, validation, best = figure.axes[0].lines[:3]
    assert points(training)[0] == pytest.approx(expected) and points(training)[1] == [4.0, 3.0]
    assert points(validation)[1] == [3.5, 3.25]
    assert points(best)[1] == [3.25]


def test_baselines_are_labelled_lines(tmp_path: Path) -> None:
    """Law: the n-gram is always shown, a compressor only if it is in range, and neither beside several runs."""
    run = Run.open(made_up_run(tmp_path / "run", SOME))
    for ngram, bzip2, shown in ((3.3, 3.4, ["7-gram 3.300", "bzip2 3.400"]), (1.0, 9.0, ["7-gram 1.000"])):
        Baselines(5000, 7, ngram, bzip2, 9.5).save(run)
        axes = draw([run]).axes[0]
        assert horizontal_lines(axes) == {float(label.split()[1]) for label in shown}
        assert [label.get_text() for label in axes.texts if "." in label.get_text()][1:] == shown
        assert axes.get_ylim()[0] < ngram < axes.get_ylim()[1]
    assert not horizontal_lines(draw([run, run]).axes[0])


def test_the_title_is_the_corpus_and_the_result(tmp_path: Path) -> None:
    """Law: the name of the corpus and the lowest validation loss, in nats and in bits."""
    run = Run.open(made_up_run(tmp_path / "run", SOME, "φανάρια $x$"))
    title = draw([run]).axes[0].get_title(loc="left")
    assert title == "φανάρια $x$: 3.250 nats per character (4.69 bits) on unseen text"
    without_validation = draw([Run.open(made_up_run(tmp_path / "no", SOME[:2], "x"))])
    assert without_validation.axes[0].get_title(loc="left") == "x"


def test_several_runs(tmp_path: Path) -> None:
    """Law: all are in one picture under their names, and the y axis covers every validation loss."""
    made_up_run(tmp_path / "low", [record(1, "train", 1.0), record(1, "validation", 1.1)])
    made_up_run(tmp_path / "high", [record(1, "train", 5.0), record(1, "validation", 5.1)])
    for order in (("low", "high"), ("high", "low")):
        axes = draw([Run.open(tmp_path / name) for name in order]).axes[0]
        names = " ".join(labels(axes))
        assert "low" in names and "high" in names
        bottom, top = axes.get_ylim()
        assert bottom < 1.1 and top >= 5.1
    plot([tmp_path / "low", tmp_path / "high"] * 5, tmp_path / "loss.svg")
    ElementTree.parse(tmp_path / "loss.svg")


@pytest.mark.parametrize(
    "records", [SOME[:1], [record(1, "validation", 3.0)], [record(s, "train", 2.0) for s in (1, 2)], SOME]
)
def test_few_points(records: list[Record], tmp_path: Path) -> None:
    """Law: one point, one curve only, or a constant curve is drawn without a warning."""
    plot([made_up_run(tmp_path / "run", records)], tmp_path / "loss.png")


@pytest.mark.parametrize("name", ["a$b$c", r"$\frac$", "_x", "x_1^2", "語", "a\nb", "φανάρια", "", "{}", "%s", "\\"])
@pytest.mark.parametrize("single", [True, False])
def test_any_name_can_be_shown(name: str, single: bool, tmp_path: Path) -> None:
    """Law: a name is text, never a formula, and is drawn without an error or a warning."""
    first = made_up_run(tmp_path / (name.replace("\n", "") or "run"), SOME, name)
    runs = [first] if single else [first, made_up_run(tmp_path / "other", SOME)]
    plot(runs, tmp_path / "loss.png")
    shown = labels(draw([Run.open(run) for run in runs]).axes[0])
    assert single or sum(first.name in text for text in shown) == 2


def test_nothing_to_draw(tmp_path: Path) -> None:
    """Law: a run without metrics is refused in one line, and no picture is written."""
    made_up_run(tmp_path / "empty", [])
    Run.create(tmp_path / "none", CONFIG)
    for name in ("empty", "none", "missing"):
        with pytest.raises(RunError) as raised:
            plot([trained_run(), tmp_path / name], tmp_path / "loss.png")
        assert name in str(raised.value) and len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "loss.png").exists()


@pytest.mark.parametrize("damage", [{"step": 5}, {"step": 5, "split": "train"}, {"step": 5, "split": 1, "nats": "x"}])
def test_damaged_metrics(damage: dict[str, Any], tmp_path: Path) -> None:
    """Law: damaged metrics are drawn without the damaged record, or refused in one line."""
    path = copy_of_trained_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(damage) + "\n")
    try:
        plot([path], tmp_path / "loss.png")
    except CharlmError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("output", ["loss.jpg", "loss", "loss.", ".png", "png", "loss.png.txt", "."])
def test_unknown_suffixes(output: str, tmp_path: Path) -> None:
    """Law: refused with the list of suffixes, and nothing is written."""
    with pytest.raises(SpecError, match=r"\.png, \.svg, \.pdf"):
        plot([trained_run()], tmp_path / output)
    assert not list(tmp_path.iterdir())


def test_impossible_paths(tmp_path: Path) -> None:
    """Law: a missing folder, and a folder with the name of the picture, are refused in one line."""
    (tmp_path / "folder.png").mkdir()
    for output in (tmp_path / "missing" / "loss.png", tmp_path / "folder.png"):
        with pytest.raises(StorageError, match=str(output.name)) as raised:
            plot([trained_run()], output)
        assert len(str(raised.value).splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_an_unknown_axis(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="steps, characters, minutes"):
        plot([trained_run()], tmp_path / "loss.png", against="hours")


def test_pyplot_is_not_imported(tmp_path: Path) -> None:
    """Law: pictures of losses and of units need no window system and leave no global figure."""
    program = (
        "import sys, charlm; run, loss, units = sys.argv[1:]; charlm.plot([run], loss);"
        "charlm.plot_units(charlm.load(run).inspect('some text, \\n' * 20), units);"
        "print('matplotlib.pyplot' in sys.modules, 'tkinter' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained_run()), str(tmp_path / "loss.png"), str(tmp_path / "units.png")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_without_a_home_there_is_no_remark(tmp_path: Path) -> None:
    """Law: where matplotlib has no place for its cache, the picture is drawn all the same, without a word."""
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file" / "home")  # cannot be made, by no user
    arguments = "plot", trained_run(), "-o", "loss.png"
    done = charlm_process(
        *arguments, cwd=tmp_path, HOME=home, XDG_CONFIG_HOME=home, XDG_CACHE_HOME=home, MPLCONFIGDIR=""
    )
    assert (done.code, done.err) == (0, "") and (tmp_path / "loss.png").stat().st_size > 1000


@pytest.mark.parametrize("nats", [0.01, 90.0])
def test_a_compressor_out_of_range_is_not_drawn(nats: float, tmp_path: Path) -> None:
    """Law: a label outside of the axes would leave no room for the curves."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    baselines = Baselines.of(run)
    assert baselines is not None
    dataclasses.replace(baselines, bzip2_nats=nats, xz_nats=nats).save(run)
    (axes, *_) = draw([run]).axes
    assert not [text for text in axes.texts if "bzip2" in text.get_text() or "xz" in text.get_text()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot([run.path], tmp_path / "loss.png")
