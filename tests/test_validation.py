"""The validation part: like the text, chosen by the text, and told when it is not."""

from __future__ import annotations

import random
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, TINY, TINY_OPTIONS, bits_of_run, charlm, few_examples, lanterns, run_to_end, tiny_run

from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.corpus.record_check import is_list_of_records
from charlm.corpus.validation import LEAST_BLOCK
from charlm.errors import CorpusError, SpecError
from charlm.runs.run import Run
from charlm.text.joined import Records
from charlm.trained_model import load
from charlm.training.auto_config import choose
from charlm.training.new_run import new_run
from charlm.training.validation_choice import choose_validation, copied_share, unlike_tail

VOWELS, CONSONANTS = "aeiou", "bdfgklmnprst"
LIBRARY = Path(sysconfig.get_path("stdlib"))
CONTINUOUS = ["argparse.py", "doctest.py", "tarfile.py", "typing.py", "pydoc_data/topics.py"]
LICENCE = """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files, to deal in the software without restriction, including without limitation the rights to use,
copy, modify, merge, publish, distribute, sublicense, and sell copies, subject to clause {0} of schedule {1}.
{0}.{1} THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, AS OF SECTION {1}({0}).
"""


def names(count: int, seed: int = 0) -> list[str]:
    """Distinct names of two to four syllables, whose second half follows from the first letter."""
    rng, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        name = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 4)))
        found[name.title() + name[0]] = None
    return list(found)


def corpus_of(folder: Path, *texts: str) -> Corpus:
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, "utf-8")
    return read_corpus([folder / f"{number}.txt" for number in range(len(texts))])


def listed(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def records(corpus: Corpus) -> tuple[set[str], set[str]]:
    """The lines to train on and those for validation."""
    parts = corpus.split(TrainSpec(validation="records"))
    assert all(isinstance(part, Records) for part in parts)
    training, validation = (set(corpus.vocabulary.decode(part[:]).split("\n")[:-1]) for part in parts)
    return training, validation


@few_examples
@given(lines=st.lists(st.text("abcé ", max_size=8), min_size=2, max_size=60), more=st.lists(st.text("xyzab")))
def test_a_list_that_grows_keeps_its_split(
    lines: list[str], more: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: every line is in one part, equal lines in the same; more lines, another order: a line that was held out for
    its content is still held out. (Where chance holds out no line, one is taken.)
    """
    folder = tmp_path_factory.mktemp("list")
    if len(set(lines)) < 2:
        with pytest.raises(CorpusError):
            records(corpus_of(folder, listed(lines or [""])))
        return
    training, validation = records(corpus_of(folder, listed(lines)))
    assert training | validation == set(lines) and not training & validation and training and validation
    random.Random(0).shuffle(lines)
    assert records(corpus_of(folder, listed(lines))) == (training, validation)
    _, of_more = records(corpus_of(folder, listed(lines + more)))
    if len(validation) > 1:
        assert validation <= of_more


def test_about_a_tenth_of_the_lines_is_held_out(tmp_path: Path) -> None:
    """Law: the share is that of val_fraction, within what chance allows, and at most val_limit characters, about."""
    corpus = corpus_of(tmp_path, listed(names(4000)))
    for fraction in (0.05, 0.1, 0.5):
        part = corpus.split(TrainSpec(validation="records", val_fraction=fraction))[1]
        assert len(part) == pytest.approx(fraction * len(corpus.ids), rel=0.15)
    few = corpus.split(TrainSpec(validation="records", val_limit=1000))[1]
    assert len(few) == pytest.approx(1000, rel=0.35)


def test_a_line_that_makes_up_the_text_is_not_held_out(tmp_path: Path) -> None:
    """Law: a line whose copies are more than the share that is kept stays in training, whatever its hash is."""
    for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"):
        training, validation = records(corpus_of(tmp_path, f"{name}\n" * 500 + "other\nlines\n"))
        assert name in training and validation <= {"other", "lines"}


def test_the_last_line_needs_no_line_end(tmp_path: Path) -> None:
    """Law: a last line without a line end is a record like all others."""
    lines = names(50)
    assert records(corpus_of(tmp_path, listed(lines))) == records(corpus_of(tmp_path, listed(lines)[:-1]))


@few_examples
@given(lengths=st.lists(st.integers(1, 60_000), min_size=1, max_size=6), fraction=st.floats(0.02, 0.5))
def test_blocks_take_a_share_of_every_file(
    lengths: list[int], fraction: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: the parts are disjoint and hold all characters; each file with room for a block of 1,000 characters has a
    share of about val_fraction; blocks begin and end with lines.
    """
    texts = [(chr(97 + number) * 19 + "\n") * (length // 20 + 1) for number, length in enumerate(lengths)]
    corpus = corpus_of(tmp_path_factory.mktemp("files"), *texts)
    spec = TrainSpec(validation="blocks", val_fraction=fraction)
    training, validation = (corpus.vocabulary.decode(part[:]) for part in corpus.split(spec))
    whole = "".join(texts)
    if len(whole) * fraction < LEAST_BLOCK + 1:
        assert training + validation == whole
        return
    assert sorted(training + validation) == sorted(whole)
    for number, text in enumerate(texts):
        if len(text) * fraction >= 1010:
            share = validation.count(chr(97 + number)) / 19 * 20 / len(text)
            assert 0.8 * fraction < share < 1.2 * fraction + LEAST_BLOCK / len(text)  # with a short file before it
    assert all(len(set(line)) == 1 and len(line) == 19 for line in validation.splitlines())


def test_blocks_of_one_text_lie_across_it(tmp_path: Path) -> None:
    """Law: of 100,000 characters, ten blocks of 1,000, one at the end of each tenth."""
    text = "".join(f"{number:09}\n" for number in range(10_000))
    validation = corpus_of(tmp_path, text).split(TrainSpec(validation="blocks"))[1][:]
    numbers = [int(line) for line in corpus_of(tmp_path, text).vocabulary.decode(validation).split()]
    assert numbers == [number for number in range(10_000) if number % 1000 >= 900]


def test_another_text_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: all of the text is trained on, and the loss is that of the other text, unknown characters included, as
    `score` gives it; --resume and others need no flag; a changed text is refused.
    """
    (tmp_path / "a.txt").write_bytes(LANTERNS.read_bytes()[:5000])
    other = tmp_path / "b.txt"
    other.write_text("Night. The lantern burns – still.\n" * 9, "utf-8")
    run_path = tmp_path / "run"
    options = "--validation", other, "--out", run_path, *TINY_OPTIONS, "--quiet"
    assert charlm(capsys, "train", tmp_path / "a.txt", *options).code == 0
    run = Run.open(run_path)
    assert run.spec.validation == "files" and run.training_characters == 5000
    best = [record["nats"] for record in run.metrics() if record["split"] == "validation"]
    assert load(run_path).score(other.read_text("utf-8")).nats_per_char == pytest.approx(min(best), rel=1e-6)
    assert charlm(capsys, "train", "--resume", run_path, "--steps", "30", "--quiet").code == 0
    other.write_text("something else\n", "utf-8")
    refused = charlm(capsys, "train", "--resume", run_path, "--steps", "40", "--quiet")
    assert refused.code == 1 and str(other) in refused.err


@pytest.mark.parametrize(
    "options",
    [("--validation", "tail", "--validation", "x.txt"), ("--validation", LANTERNS, "--val-fraction", "0.2")],
    ids=str,
)
def test_options_that_contradict(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a usage error, before anything is made."""
    assert charlm(capsys, "train", LANTERNS, *options).code == 2


def log_lines(count: int) -> list[str]:
    rng = random.Random(1)
    events = ["GET /index.html 200", "user bob logged in", "timeout after 30 ms", "POST /login 302"]
    return [f"2026-11-{1 + i // 500:02} {i % 24:02}:{i % 60:02} app[7]: {rng.choice(events)}" for i in range(count)]


def molecules(count: int) -> list[str]:
    rng = random.Random(2)
    parts = ["C", "CC", "C(=O)", "N", "O", "c1ccccc1", "[C@@H](C)", "Cl", "F", "S(=O)(=O)"]
    return ["".join(rng.choices(parts, k=rng.randint(2, 8))) for _ in range(count)]


@pytest.mark.parametrize(
    ("lines", "is_list"),
    [
        (sorted(names(1000)), True),
        (names(1000), True),
        (log_lines(1000), True),
        ([f"{i % 7},{(i * i) % 101},{'yes' if i % 3 else 'no'}" for i in range(1000)], True),
        (names(60), False),  # too few to tell
        (molecules(400), True),
        (["yes", "no", "yes", "maybe"] * 400, False),  # too few distinct ones to hold some of them out
    ],
    ids=["sorted names", "names", "log", "table", "few", "molecules", "equal"],
)
def test_lists_are_recognised(lines: list[str], is_list: bool, tmp_path: Path) -> None:
    """Law: many short lines that do not continue each other are records, sorted or not."""
    corpus = corpus_of(tmp_path, listed(lines))
    assert is_list_of_records(corpus.ids, corpus.vocabulary) is is_list


def wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    return [*lines, line]


def test_continuous_texts_are_not_lists(tmp_path: Path) -> None:
    """Law: a play, source code, and prose in lines without empty ones are continuous."""
    prose = wrapped((LIBRARY / "pydoc_data/topics.py").read_text("utf-8").replace("\\n", " "), 60)
    play = [line for line in LANTERNS.read_text("utf-8").splitlines() if line]  # not even an empty line helps
    for text in (listed(prose), listed(play), (LIBRARY / "typing.py").read_text("utf-8")):
        corpus = corpus_of(tmp_path, text)
        assert not is_list_of_records(corpus.ids, corpus.vocabulary)


def test_a_book_with_a_licence_is_told(tmp_path: Path) -> None:
    """Law: a tail unlike the rest is told with the option that mends it; auto takes blocks, which hold the book, too;
    with --validation tail it does not end training.
    """
    book = (LIBRARY / "pydoc_data/topics.py").read_text("utf-8")[:100_000]
    licence = "".join(LICENCE.format(number % 13, number % 7) for number in range(30))
    corpus = corpus_of(tmp_path, book + licence)
    assert unlike_tail(corpus, TrainSpec())
    chosen = choose(corpus)
    assert chosen.training.validation == "blocks" and chosen.training.patience
    assert any("--validation tail" in note for note in chosen.notes)
    asked = choose(corpus, validation="tail")
    assert asked.training.validation == "tail" and asked.training.patience is None
    assert any("--validation blocks" in note for note in asked.notes)
    assert choose(corpus, validation="tail", patience=3).training.patience == 3


def test_a_part_in_another_language_is_told(tmp_path: Path) -> None:
    """Law: also where it is a third of the tail only, whose passages then differ much from each other."""
    book = (LIBRARY / "pydoc_data/topics.py").read_text("utf-8")[:100_000]
    foreign = book[:4000].translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβγδεζηθικλμνξοπρστυφχψωϊϋό"[:26]))
    corpus = corpus_of(tmp_path, book + foreign)
    assert unlike_tail(corpus, TrainSpec()) and choose_validation(corpus, TrainSpec()).validation == "blocks"


@pytest.mark.parametrize("characters", [9500, 15_000])
def test_blocks_lie_across_short_texts_too(characters: int, tmp_path: Path) -> None:
    """Law: if blocks are said to lie across the text, they do: part of them is far from its end."""
    text = LANTERNS.read_text("utf-8")[:characters]
    corpus = corpus_of(tmp_path, text)
    kept = corpus.vocabulary.decode(corpus.split(TrainSpec(validation="blocks"))[1][:])
    assert not text.endswith(kept) and len(kept) == pytest.approx(characters / 10, rel=0.25)


def test_a_text_to_validate_on_is_not_ignored(tmp_path: Path) -> None:
    """Law: a corpus with one is refused if the specification validates on something else."""
    (tmp_path / "a.txt").write_text("some text\n" * 90)
    corpus = read_corpus(tmp_path / "a.txt", validation=LANTERNS)
    with pytest.raises(SpecError, match='set validation to "files"'):
        new_run(corpus, tmp_path / "run", TINY, hidden=4)
    assert new_run(corpus, tmp_path / "run", replace(TINY, validation="files"), hidden=4).spec.validation == "files"


def test_a_mistyped_choice(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a usage error that lists the choices."""
    done = charlm(capsys, "train", LANTERNS, "--validation", "recrods")
    assert done.code == 2 and "records" in done.err and "recrods" in done.err


@pytest.mark.parametrize("name", ["lanterns", *CONTINUOUS])
def test_the_tail_of_a_continuous_text_is_not_told(name: str, tmp_path: Path) -> None:
    """Law: for a continuous text the tail stays the default, without a word about it."""
    corpus = lanterns() if name == "lanterns" else corpus_of(tmp_path, (LIBRARY / name).read_text("utf-8"))
    choice = choose_validation(corpus, TrainSpec())
    assert (choice.validation, choice.notes, choice.is_like) == ("tail", [], True)


def test_several_files_are_all_validated(tmp_path: Path) -> None:
    """Law: of a folder in two languages, the validation part has both."""
    english = LANTERNS.read_text("utf-8")
    corpus = corpus_of(tmp_path, english, english.translate(str.maketrans("aeiou", "äëïöü")))
    chosen = choose(corpus)
    assert chosen.training.validation == "blocks" and any("--validation tail" in note for note in chosen.notes)
    text = corpus.vocabulary.decode(corpus.split(chosen.training)[1][:])
    assert text.count("e") > 100 and text.count("ë") > 100


def test_copies_are_told(tmp_path: Path) -> None:
    """Law: where the validation part is trained on, too, this is said; a text without copies is silent."""
    list_twice = corpus_of(tmp_path, listed(names(300) * 2))  # short lines
    assert copied_share(list_twice, TrainSpec()) > 0.9
    english = LANTERNS.read_text("utf-8")
    twice = corpus_of(tmp_path, english + english)
    assert copied_share(twice, TrainSpec()) > 0.7
    assert any("copies" in note for note in choose_validation(twice, TrainSpec()).notes)
    assert copied_share(lanterns(), TrainSpec()) < 0.1


def test_the_choice_is_made_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a sorted list is trained on as records, this is said in one line, and --validation overrides it."""
    path = tmp_path / "names.txt"
    path.write_text(listed(sorted(names(400))), "utf-8")
    options = *TINY_OPTIONS, "--out"
    trained = charlm(capsys, "train", path, *options, tmp_path / "one")
    assert trained.code == 0 and Run.open(tmp_path / "one").is_records
    assert len([line for line in trained.err.splitlines() if "--validation tail" in line and "record" in line]) == 1
    assert charlm(capsys, "train", path, "--validation", "tail", *options, tmp_path / "two").code == 0
    assert Run.open(tmp_path / "two").spec.validation == "tail"


def test_a_run_without_the_setting_is_as_before(tmp_path: Path) -> None:
    """Law: the library's plain default is the tail, so a spec that names nothing trains to the same bits."""
    corpus = lanterns()
    plain = run_to_end(tiny_run(tmp_path / "one", corpus, TINY), corpus)
    named = run_to_end(tiny_run(tmp_path / "two", corpus, replace(TINY, validation="tail")), corpus)
    assert bits_of_run(plain) == bits_of_run(named)
    training, validation = corpus.split(TINY)
    np.testing.assert_array_equal(np.concatenate([training[:], validation[:]]), corpus.ids)


def test_a_sorted_list_is_learned_as_well_as_a_mixed_one(tmp_path: Path) -> None:
    """Law: order does not matter: the same lines are held out, and the loss is the same within 2 %."""
    lines = sorted(names(1500))
    mixed = random.Random(3).sample(lines, len(lines))
    losses = []
    for number, text in enumerate((lines, mixed)):
        corpus = read_corpus(tmp_path / "x.txt") if (tmp_path / "x.txt").write_text(listed(text)) else None
        assert corpus is not None
        chosen = choose(corpus, steps=200, hidden=32)
        run = run_to_end(new_run(corpus, tmp_path / f"run{number}", chosen.training, **chosen.network), corpus)
        losses.append(min(record["nats"] for record in run.metrics() if record["split"] == "validation"))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
