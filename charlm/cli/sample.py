"""charlm sample"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import click

from charlm import (
    Novelty,
    Sample,
    SampleSpec,
    Text,
    TrainedModel,
    TrainingText,
    Unseen,
    blas_threads,
    clean_up_notes,
    load,
    wanted_samples,
)
from charlm.analysis.memorisation import SPAN
from charlm.cli.arguments import as_utf8, encoding_option, mix_option, run_or_newest, show_mix, show_warning, unescaped
from charlm.cli.screen import json_line
from charlm.cli.streams import echo

MOST_SHOWN = 80  # characters of the longest copy
FLUSH_SECONDS = 0.03  # flushing every character would take longer than generating it


@click.command("sample", short_help="Write text that continues a seed text.")
@click.argument("run", required=False, type=click.Path())
@click.option(
    "--seed",
    default="",
    callback=as_utf8,
    help="Seed text to continue, one character or more. (The random seed is --rng-seed.)  "
    "[default: the start of a line]",
)
@click.option(
    "--seed-file", type=click.Path(allow_dash=True), metavar="FILE", help="Continue all of a text; - is standard input."
)
@encoding_option
@click.option("-n", "--length", default=SampleSpec.length, show_default=True, help="Characters to add.")
@click.option(
    "--temperature",
    default=SampleSpec.temperature,
    show_default=True,
    help="Below 1: less varied; above 1: more varied; 0: always the most likely character.",
)
@click.option("--top-k", type=int, help="Sample from the K most likely characters only.")
@click.option("--top-p", type=float, help="Sample from the most likely characters only, up to this total probability.")
@click.option("--stop", callback=as_utf8, help="Stop before this string; \\n is a line end, \\t a tab.")
@click.option(
    "--stop-line",
    is_flag=True,
    help="Stop at the line end: one name, one line. A model that was trained on records does, unless --stop is given.",
)
@click.option(
    "--rng-seed",
    type=click.IntRange(min=0),
    help="Random seed: the same number gives the same sample.  [default: a new one each time, printed to stderr]",
)
@mix_option
@click.option("--count", default=1, show_default=True, type=click.IntRange(min=1), help="Number of samples.")
@click.option(
    "--new",
    is_flag=True,
    help="Leave out samples that are lines of the text, validation part included, and go on until there are enough.",
)
@click.option(
    "--unique",
    is_flag=True,
    help="Leave out samples that are equal to an earlier one, and go on until there are enough.",
)
@click.option(
    "--novelty",
    is_flag=True,
    help="Print to stderr what was copied from the training text, which must still be available, and how many samples "
    "are lines of it.",
)
@click.option(
    "--corpus",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Where --novelty and --new find the training text, if it was moved or renamed; repeat it for several files.  "
    "[default: where the text was]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per sample.")
def command(
    run: str | None,
    seed: str,
    seed_file: str | None,
    encoding: str | None,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    stop_line: bool,
    rng_seed: int | None,
    mix: bool,
    count: int,
    new: bool,
    unique: bool,
    novelty: bool,
    corpus: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write text that continues a seed text, character by character as it is generated.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints. Only the sample goes to
    standard output. With --count, each sample ends with a line end.
    """
    if corpus and not (novelty or new):
        raise click.UsageError("--corpus says where --novelty and --new find the training text: add one of them")
    if encoding and seed_file is None:
        raise click.UsageError("--encoding is that of --seed-file: name one, or leave it out")
    if stop is not None and stop_line:
        raise click.UsageError("--stop and --stop-line both say where a sample ends: leave one out")
    seed = unescaped("--seed", seed) if seed_file is None else _text_of(seed_file, seed, encoding)
    stop = "\n" if stop_line else None if stop is None else unescaped("--stop", stop)
    spec = SampleSpec(length, temperature, top_k, top_p, stop)
    path = run_or_newest(run)
    model = load(path, mix=mix)
    text = TrainingText.of(path, corpus or None) if novelty or new else None
    show_warning(model)
    show_mix(model)
    _show_unknown(model, seed, stop or "")
    if rng_seed is None:
        rng_seed = secrets.randbelow(2**32)
        echo(f"Random seed {rng_seed} (--rng-seed {rng_seed} gives this sample again)", err=True)

    def is_new(sample: str) -> bool:
        assert text is not None
        record = _record(seed, sample)
        return bool(record) and not text.has_line(record)

    compared = text if novelty else None
    with blas_threads(1 if count == 1 else None):  # one sample is too little work for several threads
        if count == 1 and not (as_json or new or unique):
            _show_one(model, seed, spec, rng_seed, compared)
        else:
            write = partial(_write, model, seed, spec, rng_seed)
            wanted = wanted_samples(write, count, is_new=is_new if new else None, unique=unique)
            _show_all(wanted, seed, rng_seed, compared, as_json)


def _record(seed: str, sample: str) -> str:
    """What is compared with the lines of the text: the last line of the seed text and the sample, without its end."""
    return (seed.rpartition("\n")[2] + sample).removesuffix("\n")


def _show_unknown(model: TrainedModel, seed: str, stop: str) -> None:
    """Say which characters of the seed text and of the stop string the model does not have."""
    for text, means in ((seed, "read as the unknown character"), (stop, "so no sample ends there (--stop)")):
        unseen = Unseen(model.vocabulary)
        unseen.add(text)
        if unseen.characters:
            echo(f"The model never saw {unseen.names}: {means}", err=True)


def _write(model: TrainedModel, seed: str, spec: SampleSpec, rng_seed: int, numbers: range) -> list[Sample]:
    return model.numbered_samples(seed, spec, rng_seed=rng_seed, numbers=numbers)


def _text_of(path: str, seed: str, encoding: str | None) -> str:
    """The text of --seed-file. Raises UsageError if there is a --seed, too, or if the file is empty."""
    if seed:
        raise click.UsageError("--seed and --seed-file both give the seed text: leave one out")
    text = Text(path, encoding=encoding)
    found = "".join(text)
    if not found:
        raise click.UsageError(f"{text.source} is empty: put the text to continue there, or leave out --seed-file")
    for note in clean_up_notes([text]):
        echo(note, err=True)
    return found


def _show_one(
    model: TrainedModel, seed: str, spec: SampleSpec, rng_seed: int, learned_from: TrainingText | None
) -> None:
    """Write one sample while it is generated."""
    text = _stream(seed, model.sample(seed, spec, rng_seed=(rng_seed, 0)))
    if sys.stdout.isatty() and (seed + text)[-1:] != "\n":
        sys.stdout.write("\n")
    sys.stdout.flush()
    if learned_from:
        _show_novelty(learned_from.novelty(text, seed))
        _show_lines(int(learned_from.has_line(_record(seed, text))), 1)


def _show_all(
    samples: Iterable[Sample], seed: str, rng_seed: int, learned_from: TrainingText | None, as_json: bool
) -> None:
    """Write samples, each when it is complete."""
    lines = shown = 0
    for sample in samples:
        shown += 1
        text = seed + sample.text
        found = learned_from.novelty(sample.text, seed) if learned_from else None
        is_line = learned_from is not None and learned_from.has_line(_record(seed, sample.text))
        lines += is_line
        if as_json:
            record = {"text": text, "seed": seed, "rng_seed": rng_seed, "number": sample.number, "ended": sample.ended}
            echo(json_line(record | _figures(found, is_line)))
            continue
        echo(text, nl=not text.endswith("\n"))
        if found:
            _show_novelty(found)
    if learned_from and not as_json:
        _show_lines(lines, shown)


def _stream(seed: str, characters: Iterator[str]) -> str:
    """Write the seed text, then each character when it comes; returns the characters."""
    sys.stdout.write(seed)
    sys.stdout.flush()
    text, flushed = [], time.monotonic()
    for character in characters:
        text.append(character)
        sys.stdout.write(character)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            sys.stdout.flush()
            flushed = time.monotonic()
    return "".join(text)


def _figures(found: Novelty | None, is_line: bool) -> dict[str, Any]:
    """The fields of --json for --novelty."""
    return {"copied": found.copied, f"new_{SPAN}grams": found.share, "in_training_text": is_line} if found else {}


def _show_lines(lines: int, samples: int) -> None:
    """Print to stderr how many samples are lines of the text; of a single sample only if it is one."""
    if lines or samples > 1:
        echo(f"{lines:,} of {samples:,} samples {'is a line' if lines == 1 else 'are lines'} of the text", err=True)


def _show_novelty(found: Novelty) -> None:
    """Print to stderr what a sample has in common with the training text."""
    copied = repr(found.copied)
    if len(copied) > MOST_SHOWN:
        copied = f"{copied[: MOST_SHOWN - 4]}...{copied[-1]}"
    new = "" if found.share is None else f"; {found.share:.0%} of its runs of {SPAN} characters are new"
    echo(f"Longest run copied from the training text: {len(found.copied):,} characters, {copied}{new}", err=True)
