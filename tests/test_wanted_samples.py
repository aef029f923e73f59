"""Where samples end, and samples until enough of them are new or different."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import charlm, few_examples, run_to_end, trained_run

from charlm.analysis.memorisation import TrainingText
from charlm.config import TrainSpec
from charlm.corpus.corpus import read_corpus
from charlm.errors import SamplingError
from charlm.sampling.sample import Sample, SampleSpec
from charlm.sampling.wanted import TRIES, wanted_samples
from charlm.trained_model import load
from charlm.training.new_run import new_run

NAMES = ["Ana", "Bo", "Cy", "Dee", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo"]


@pytest.fixture(scope="module")
def of_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on records that knows a few names by heart."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in NAMES * 30), "utf-8")
    corpus = read_corpus(folder / "names.txt")
    spec = TrainSpec(batch=8, window=20, steps=60, evaluations=2, validation="records")
    return run_to_end(new_run(corpus, folder / "run", spec, hidden=24), corpus).path


@few_examples
@given(stop=st.sampled_from(["\n", "e", "he", "the", "ee"]), count=st.integers(1, 40), length=st.integers(0, 150))
def test_samples_end_where_one_alone_does(stop: str, count: int, length: int) -> None:
    """Law: side by side, samples are those of one generator at a time, and say why they ended: before the stop, or at
    the length.
    """
    model = load(trained_run())
    spec = SampleSpec(length=length, stop=stop, temperature=1.0)
    found = model.numbered_samples("T", spec, rng_seed=3, numbers=range(count))
    for number, sample in enumerate(found):
        assert sample.number == number
        assert sample.text == "".join(model.sample("T", spec, rng_seed=(3, number)))
        whole = "".join(model.sample("T", length=length, temperature=1.0, rng_seed=(3, number)))
        assert sample.ended == ("stop" if stop in whole else "length")
        assert sample.text == whole.partition(stop)[0]


def test_a_batch_ends_when_all_have_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: no more steps are made than the longest sample needs, however long samples may be."""
    model = load(trained_run())
    steps = 0
    predictor = model.predictor()
    reader_type = type(predictor.reader())
    read = reader_type.read

    def counted(self: object, ids: np.ndarray) -> None:
        nonlocal steps
        steps += 1
        read(self, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(reader_type, read.__name__, counted)
    found = model.numbered_samples("T", SampleSpec(length=5000, stop="e"), numbers=range(8))
    assert all(one.ended == "stop" for one in found)
    assert steps <= max(len(one.text) for one in found) + 2


@few_examples
@given(texts=st.lists(st.sampled_from("abcdef"), min_size=1), count=st.integers(1, 6), new=st.booleans())
def test_wanted_samples_are_those_that_qualify(texts: list[str], count: int, new: bool) -> None:
    """Law: in order, the first `count` that are wanted, each once; if they do not come, an error that says how many."""
    unwanted = {"a", "b"} if new else set()

    def write(numbers: range) -> list[Sample]:
        return [Sample(texts[number % len(texts)], "stop", number) for number in numbers]

    possible = [text for text in dict.fromkeys(texts) if text not in unwanted]
    wanted = wanted_samples(write, count, is_new=lambda text: text not in unwanted, unique=True)
    if len(possible) >= count:
        assert [one.text for one in wanted] == possible[:count]
    else:
        with pytest.raises(SamplingError, match=rf"only {len(possible)} of {count} .* in {TRIES * count:,} tries"):
            list(wanted)


def test_without_a_wish_all_samples_come() -> None:
    """Law: no more samples are written than asked for, and none is left out."""
    asked: list[int] = []

    def write(numbers: range) -> list[Sample]:
        asked.extend(numbers)
        return [Sample("same", "length", number) for number in numbers]

    assert len(list(wanted_samples(write, 150))) == 150
    assert asked == list(range(150))


def test_new_and_different_names(of_names: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: with --new no sample is a line of the text, with --unique none comes twice; the same random seed gives the
    same; --novelty counts the lines.
    """
    options = "--count", 30, "--temperature", 1.5, "--rng-seed", 4
    found = charlm(capsys, "sample", of_names, *options, "--new", "--unique")
    names = found.out.split("\n")[:-1]
    assert found.code == 0 and len(names) == len(set(names)) == 30 and not {*names, ""} - {""} & {*NAMES}
    assert charlm(capsys, "sample", of_names, *options, "--new", "--unique").out == found.out
    all_of_them = charlm(capsys, "sample", of_names, *options, "--novelty")
    copies = sum(name in NAMES for name in all_of_them.out.split("\n"))
    assert all_of_them.err.splitlines()[-1].startswith(f"{copies} of 30 samples ")
    as_json = charlm(capsys, "sample", of_names, *options, "--novelty", "--json")
    records = [json.loads(line) for line in as_json.out.splitlines()]
    assert [record["in_training_text"] for record in records] == [record["text"] in NAMES for record in records]
    assert {record["ended"] for record in records} <= {"stop", "length"}


def test_an_end_to_the_search(of_names: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: where not enough are new, what came is written, and one line says how many and what to do; exit code 1."""
    found = charlm(capsys, "sample", of_names, "--count", 30, "--temperature", 0, "--unique", "--rng-seed", 1)
    assert found.code == 1 and found.out.count("\n") == 1
    assert "only 1 of 30 different samples" in found.err and "--temperature" in found.err


def test_lines_of_the_text(of_names: Path) -> None:
    """Law: every line of the whole text is one, with or without its line end, and nothing else is."""
    text = TrainingText.of(of_names)
    assert all(text.has_line(name) and text.has_line(name + "\n") for name in NAMES)
    assert not any(text.has_line(other) for other in ("", "An", "Ana\nBo", "ana", "€"))


@pytest.mark.parametrize(
    ("typed", "means"), [(r"\n", "\n"), (r"a\tb", "a\tb"), (r"\\n", "\\n"), (r"\x", r"\x"), ("e", "e")]
)
def test_escapes(typed: str, means: str, capsys: pytest.CaptureFixture[str]) -> None:
    r"""Law: \n, \t and \\ of --seed and --stop are understood, and this is said; all else is as it is."""
    done = charlm(capsys, "sample", trained_run(), "--seed", typed, "--rng-seed", 1, "-n", 5, "--json")
    assert done.json["seed"] == means
    assert ("--seed is read as" in done.err) == (typed != means)
    stopped = charlm(capsys, "sample", trained_run(), "--stop", typed, "--rng-seed", 1, "-n", 200, "--json")
    whole = charlm(capsys, "sample", trained_run(), "--rng-seed", 1, "-n", 200, "--json")
    assert stopped.json["text"] == whole.json["text"].partition(means)[0]


def test_a_stop_that_cannot_come(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: characters of --stop that the model does not have are named."""
    done = charlm(capsys, "sample", trained_run(), "--stop", "###", "--rng-seed", 1, "-n", 5)
    assert done.code == 0 and "'#' (U+0023)" in done.err and "no sample ends there" in done.err


def test_stop_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: --stop-line is --stop with a line end; the two together are a usage error."""
    options = "--rng-seed", 1, "--count", 3
    one = charlm(capsys, "sample", trained_run(), "--stop-line", *options)
    assert one.out == charlm(capsys, "sample", trained_run(), "--stop", "\n", *options).out
    assert charlm(capsys, "sample", trained_run(), "--stop-line", "--stop", "x").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--top-k", 0),
        ("sample", "--temperature", -1),
        ("sample", "--top-p", 2),
        ("sample", "--count", 0),
        ("sample", "--length", -1),
        ("score", "FILE", "--per", "line", "--above", 4, "--below", 3),
        ("score", "FILE", "--adapt", 100),
        ("score", "FILE", "--per", "line", "--top", 0),
        ("train", "FILE", "--minutes", 0),
        ("train", "FILE", "--hidden", 0),
        ("train", "FILE", "--lr", -1),
    ],
    ids=str,
)
def test_impossible_values_are_usage_errors(
    arguments: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: exit code 2 for every value that is impossible whatever the model is, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("a line of text\n" * 200)
    command, *others = arguments
    run = [] if command == "train" else [trained_run()]
    done = charlm(capsys, command, *run, *("x.txt" if other == "FILE" else other for other in others))
    assert done.code == 2 and done.out == "", done
    assert not (tmp_path / "checkpoints").exists()
