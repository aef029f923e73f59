"""Plots: pictures of what metrics say, without a window system."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from runs import CONFIG, copy_of_trained_run, trained_run

from charlm.baselines import Baselines
from charlm.errors import CharlmError, RunError, SpecError, StorageError
from charlm.plotting.loss import draw, plot
from charlm.store.run import Run

BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-", ".PNG": b"\x89PNG\r\n\x1a\n"}


def made_up_run(path: Path, records: list[dict[str, Any]], name: str = "x") -> Path:
    run = Run.create(path, CONFIG | {"corpus": CONFIG["corpus"] | {"name": name}})
    run.log(records)
    return run.path


def record(step: int, split: str, nats: float) -> dict[str, Any]:
    return {"step": step, "characters": 40 * step, "seconds": step / 2, "split": split, "nats": nats}


SOME = [record(1, "train", 4.0), record(2, "train", 3.0), record(2, "validation", 3.5), record(3, "validation", 3.25)]


@pytest.mark.parametrize("ending", BEGINNINGS)
def test_the_ending_is_the_format(ending: str, tmp_path: Path) -> None:
    """Law: a picture of that kind, and nothing else in the folder."""
    plot([trained_run()], tmp_path / f"loss{ending}")
    assert (tmp_path / f"loss{ending}").read_bytes().startswith(BEGINNINGS[ending])
    assert [file.name for file in tmp_path.iterdir()] == [f"loss{ending}"]


@pytest.mark.parametrize(
    ("against", "at"), [("steps", [1, 2]), ("characters", [40, 80]), ("minutes", [1 / 120, 1 / 60])]
)
def test_the_curves_are_the_metrics(against: str, at: list[float], tmp_path: Path) -> None:
    """Law: every record is a point of its curve: when, and how many nats."""
    figure = draw([Run.open(made_up_run(tmp_path / "run", SOME))], against)
    training, validation, best = figure.axes[0].lines[:3]
    assert training.get_xdata() == pytest.approx(at) and list(training.get_ydata()) == [4.0, 3.0]
    assert list(validation.get_ydata()) == [3.5, 3.25]
    assert list(best.get_ydata()) == [3.25]


def test_baselines_are_lines_that_say_what_they_are(tmp_path: Path) -> None:
    """Law: the n-gram is in the picture whatever its nats, a compressor where it is not above all that is shown."""
    run = Run.open(made_up_run(tmp_path / "run", SOME))
    for ngram, bzip2, shown in ((3.3, 3.4, ["7-gram 3.300", "bzip2 3.400"]), (1.0, 9.0, ["7-gram 1.000"])):
        run.save_figures("baselines", asdict(Baselines(5000, 7, ngram, bzip2, 9.5)))
        axes = draw([run]).axes[0]
        level = {line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]}
        assert level == {float(label.split()[1]) for label in shown}
        assert [label.get_text() for label in axes.texts if "." in label.get_text()][1:] == shown
        assert axes.get_ylim()[0] < ngram < axes.get_ylim()[1]
    assert not [line for line in draw([run, run]).axes[0].lines if list(line.get_xdata()) == [0, 1]]


def test_the_title_is_the_corpus_and_the_result(tmp_path: Path) -> None:
    """Law: the name of the text and the lowest validation loss, in nats and in bits."""
    run = Run.open(made_up_run(tmp_path / "run", SOME, "φανάρια $x$"))
    title = draw([run]).axes[0].get_title(loc="left")
    assert title == "φανάρια $x$: 3.250 nats per character (4.69 bits) on unseen text"
    alone = draw([Run.open(made_up_run(tmp_path / "no", SOME[:2], "x"))])
    assert alone.axes[0].get_title(loc="left") == "x"


def test_several_runs(tmp_path: Path) -> None:
    """Law: all of them in one picture, each told by its name; the y axis shows every validation loss."""
    made_up_run(tmp_path / "low", [record(1, "train", 1.0), record(1, "validation", 1.1)])
    made_up_run(tmp_path / "high", [record(1, "train", 5.0), record(1, "validation", 5.1)])
    for order in (("low", "high"), ("high", "low")):
        axes = draw([Run.open(tmp_path / name) for name in order]).axes[0]
        labels = " ".join(text.get_text() for text in axes.get_legend().get_texts())
        assert "low" in labels and "high" in labels
        bottom, top = axes.get_ylim()
        assert bottom < 1.1 and top >= 5.1
    plot([tmp_path / "low", tmp_path / "high"] * 5, tmp_path / "loss.svg")
    ElementTree.parse(tmp_path / "loss.svg")


@pytest.mark.parametrize(
    "records", [SOME[:1], [record(1, "validation", 3.0)], [record(s, "train", 2.0) for s in (1, 2)], SOME]
)
def test_few_points(records: list[dict[str, Any]], tmp_path: Path) -> None:
    """Law: one point, only one kind, or all the same: drawn without a warning."""
    plot([made_up_run(tmp_path / "run", records)], tmp_path / "loss.png")


@pytest.mark.parametrize("name", ["a$b$c", r"$\frac$", "_x", "x_1^2", "語", "a\nb", "φανάρια", "", "{}", "%s", "\\"])
@pytest.mark.parametrize("alone", [True, False])
def test_any_name_can_be_shown(name: str, alone: bool, tmp_path: Path) -> None:
    """Law: a name is text, never a formula; it is drawn without an error or a warning."""
    first = made_up_run(tmp_path / (name.replace("\n", "") or "run"), SOME, name)
    runs = [first] if alone else [first, made_up_run(tmp_path / "other", SOME)]
    plot(runs, tmp_path / "loss.png")
    legend = draw([Run.open(run) for run in runs]).axes[0].get_legend()
    assert alone or sum(first.name in text.get_text() for text in legend.get_texts()) == 2


def test_nothing_to_draw(tmp_path: Path) -> None:
    """Law: refused in one line, and no picture is left."""
    made_up_run(tmp_path / "empty", [])
    Run.create(tmp_path / "none", CONFIG)
    for name in ("empty", "none", "missing"):
        with pytest.raises(RunError) as raised:
            plot([trained_run(), tmp_path / name], tmp_path / "loss.png")
        assert name in str(raised.value) and len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "loss.png").exists()


@pytest.mark.parametrize("damage", [{"step": 5}, {"step": 5, "split": "train"}, {"step": 5, "split": 1, "nats": "x"}])
def test_a_record_without_a_loss(damage: dict[str, Any], tmp_path: Path) -> None:
    """Law: metrics that were damaged are drawn without that record, or refused in one line."""
    path = copy_of_trained_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(damage) + "\n")
    try:
        plot([path], tmp_path / "loss.png")
    except CharlmError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("output", ["loss.jpg", "loss", "loss.", ".png", "png", "loss.png.txt", "."])
def test_unknown_endings(output: str, tmp_path: Path) -> None:
    """Law: refused by name, and nothing is written."""
    with pytest.raises(SpecError, match=r"\.png, \.svg, \.pdf"):
        plot([trained_run()], tmp_path / output)
    assert not list(tmp_path.iterdir())


def test_places_that_are_none(tmp_path: Path) -> None:
    """Law: a missing folder, and a folder in the place of the picture, are told in one line."""
    (tmp_path / "folder.png").mkdir()
    for output in (tmp_path / "missing" / "loss.png", tmp_path / "folder.png"):
        with pytest.raises(StorageError, match=str(output.name)) as raised:
            plot([trained_run()], output)
        assert len(str(raised.value).splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_an_unknown_axis(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="steps, characters, minutes"):
        plot([trained_run()], tmp_path / "loss.png", against="hours")


def test_pyplot_stays_out(tmp_path: Path) -> None:
    """Law: no window system, no global figures: pyplot is never imported."""
    program = (
        "import sys; from charlm import plot; plot([sys.argv[1]], sys.argv[2]);"
        "print('matplotlib.pyplot' in sys.modules, 'tkinter' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained_run()), str(tmp_path / "loss.png")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("False False\n", "")
