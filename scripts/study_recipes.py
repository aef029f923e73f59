"""What suits a text? Validation losses of settings side by side, and by the protocols of other projects.

    python scripts/study_recipes.py texts FOLDER
    python scripts/study_recipes.py compare TEXT [--tune] [--last 250000] [--seeds 3] "minutes=3" "minutes=3 batch=16"
    python scripts/study_recipes.py crops RUN TEXT

`texts` makes four texts that nothing was tuned on: translated phrases in German, Greek and Chinese, and source code.
`compare` trains once per setting and seed, and prints a row for each: fields of ModelSpec and TrainSpec, or
`preset=classic`; unset ones are chosen as in `charlm train`. `final` is the schedule's; `recurrent=uniform` and
`update_bias=-1` are other initialisations of a network of GRUs. With --tune the last tenth of the text is removed
first, so that settings are not chosen on the part on which results are reported; with --last only so many characters
before it are used, as a shorter text.
`crops` is the loss over random pieces of 256 characters, each read from a zero state, as other projects report it.
docs/recipes.md has the tables.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import charlm
from charlm import CharLM, TrainSpec
from charlm.arrays import NamedArrays
from charlm.nn.initialisation import uniform_fan_in
from charlm.optim.schedules import Schedule
from charlm.training import coordinator
from charlm.training.loop import train_steps

WHEEL = "Django==5.2.8"
LANGUAGES = {"german": "de", "greek": "el", "chinese": "zh_Hans"}
SOURCE_CHARACTERS = 1_000_000
CROPS, CROP = 2000, 256
OF_SCHEDULE = {"final"}
OF_INITIALISATION = {"recurrent", "update_bias"}


def make_texts(folder: Path) -> None:
    """Four texts: the phrases of a web framework in three languages, and the standard library of this Python."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", WHEEL, "-d", place]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(place).glob("*.whl"))) as wheel:
            for name, code in LANGUAGES.items():
                catalogues = sorted(
                    path for path in wheel.namelist() if f"/locale/{code}/LC_MESSAGES/django.po" in path
                )
                text = "\n".join(translations(wheel.read(path).decode("utf-8")) for path in catalogues)
                (folder / f"{name}.txt").write_text(text, "utf-8")
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    code = "\n\n".join(path.read_text("utf-8", errors="replace") for path in sources)
    (folder / "python.txt").write_text(code[:SOURCE_CHARACTERS].replace("\0", ""), "utf-8")
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text("utf-8")
        print(f"{path}: {len(text):,} characters, {len(set(text))} different ones")


def translations(catalogue: str) -> str:
    """The translated phrases of a gettext catalogue, a line each."""
    found = re.findall(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', catalogue, re.MULTILINE)
    phrases = ["".join(ast.literal_eval(part) for part in phrase.splitlines()) for phrase in found[1:]]
    return "\n".join(phrase for phrase in phrases if phrase)


def setting(text: str) -> dict[str, Any]:
    """`hidden=256 dropout=0.2 patience=None` as a dictionary; a word is itself."""
    return {name: _value(word) for name, word in (part.split("=", 1) for part in text.split())}


def _value(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


@contextmanager
def changed(schedule: dict[str, Any], initialisation: dict[str, Any]) -> Iterator[None]:
    """Another schedule and initialisation, for which charlm has no options, inside the `with` block."""
    usual = CharLM.initial_params

    def initial_params(model: CharLM, rng: np.random.Generator) -> NamedArrays:
        params, H = usual(model, rng), model.spec.hidden
        for name, array in params.items():
            if name.endswith(".U") and initialisation.get("recurrent") == "uniform":
                array[...] = uniform_fan_in(rng, array.shape, fan_in=H)
            if name.startswith("layer") and name.endswith(".b"):
                array[:H] = initialisation.get("update_bias", 0.0)
        return params

    with (
        patch.object(CharLM, usual.__name__, initial_params),
        patch.object(coordinator, Schedule.__name__, partial(Schedule, **schedule)),
    ):
        yield


def compare(text: str, settings: list[str], seeds: int, folder: Path) -> None:
    """Train, and print a row for every setting."""
    path = folder / "text.txt"
    path.write_text(text, "utf-8")
    corpus = charlm.read_corpus(path)
    print(f"{len(text):,} characters, {len(corpus.vocabulary)} different ones\n")
    print("| setting | units | dropout | passes | seconds | training, last | validation, best | median |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, words in enumerate(settings):
        found, of_training = [], []
        for seed in range(seeds):
            given = setting(words)
            schedule, initialisation = (
                {name: given.pop(name) for name in names & set(given)} for names in (OF_SCHEDULE, OF_INITIALISATION)
            )
            given = {"validation": "tail", **given}  # the protocol of published figures
            chosen = charlm.choose(corpus, given.pop("preset", None), rng_seed=seed, **given)
            run = charlm.new_run(corpus, folder / f"run {number} {seed}", chosen.training, **chosen.network)
            with changed(schedule, initialisation):
                for _ in train_steps(run, corpus):
                    pass
            figures = charlm.summary(run)
            found.append(figures["validation_nats"])
            of_training.append(figures["train_nats"])
        spec, model = run.spec, run.model
        print(
            f"| {words} | {model.layers} x {model.hidden} | {spec.dropout:g}, {spec.input_dropout:g} "
            f"| {figures['epochs']:.1f} | {figures['seconds']:.0f} | {statistics.median(of_training):.3f} "
            f"| {' '.join(f'{nats:.4f}' for nats in found)} | {statistics.median(found):.4f} |",
            flush=True,
        )


def crops(target: str, text: str) -> None:
    """Print the loss over random crops of a text's validation part, beside that of one long pass."""
    model = charlm.load(target)
    last = text[-min(max(1, round(len(text) * TrainSpec.val_fraction)), TrainSpec.val_limit) :]
    if len(last) <= CROP + 1:
        sys.exit(f"the last tenth of {len(text):,} characters has no {CROP} of them: take a text of {20 * CROP:,}")
    starts = np.random.default_rng(0).integers(len(last) - CROP, size=CROPS)
    began = time.perf_counter()
    read = (last[at : at + CROP + 1] for at in starts)  # the first character is only read
    pieces = [float(nats[1:].mean()) for nats in model.surprisals(read, reset=True)]
    print(f"one long pass: {model.score(last).nats_per_char:.4f} nats per character")
    print(
        f"{CROPS} crops, {CROP} characters after the first of each, which is read after a newline: "
        f"{statistics.fmean(pieces):.4f} ({time.perf_counter() - began:.0f} s)"
    )


def main() -> None:
    """Parse the arguments and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("texts").add_argument("folder", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("text", type=Path)
    comparing.add_argument("settings", nargs="+")
    comparing.add_argument("--tune", action="store_true")
    comparing.add_argument("--last", type=int, default=0)
    comparing.add_argument("--seeds", type=int, default=1)
    comparing.add_argument("--keep", type=Path, help="a folder for the runs; by default they are not kept")
    cropping = commands.add_parser("crops")
    cropping.add_argument("run")
    cropping.add_argument("text", type=Path)
    asked = parser.parse_args()
    if asked.command == "texts":
        make_texts(asked.folder)
        return
    text = asked.text.read_text("utf-8")
    if asked.command == "crops":
        crops(asked.run, text)
        return
    if asked.tune:
        text = text[: len(text) - round(len(text) * 0.1)]
    text = text[-asked.last :]
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
        if any(asked.keep.iterdir()):
            sys.exit(f"{asked.keep} is not empty: name another folder to keep the runs in")
        compare(text, asked.settings, asked.seeds, asked.keep)
    else:
        with tempfile.TemporaryDirectory() as place:
            compare(text, asked.settings, asked.seeds, Path(place))


if __name__ == "__main__":
    main()
