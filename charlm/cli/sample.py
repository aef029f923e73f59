"""charlm sample"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator

import click

from charlm import CharlmError, Sample, SampleSpec, TrainedModel, TrainingText, Unseen, blas_threads, load
from charlm.cli.arguments import mix_option, run_or_newest, show_mix, with_escapes
from charlm.cli.sample_report import SampleReport
from charlm.cli.streams import echo

MOST_AT_ONCE = 64  # samples generated in parallel
FLUSH_SECONDS = 0.03  # flushing every character would take longer than generating it


@click.command("sample", short_help="Write text that continues a seed text.")
@click.argument("run", required=False, type=click.Path())
@click.option(
    "--seed",
    default="",
    callback=with_escapes,
    help="Seed text to continue, one character or more; \\n is a line end, \\t a tab, \\\\ a backslash. (The random "
    "seed is --rng-seed.)  "
    "[default: the start of a line]",
)
@click.option("-n", "--length", default=SampleSpec.length, show_default=True, help="Characters to add.")
@click.option(
    "--temperature",
    default=SampleSpec.temperature,
    show_default=True,
    help="Below 1: less varied; above 1: more varied; 0: always the most likely character.",
)
@click.option("--top-k", type=int, help="Sample from the K most likely characters only.")
@click.option("--top-p", type=float, help="Sample from the most likely characters only, up to this total probability.")
@click.option(
    "--stop",
    callback=with_escapes,
    help="End each sample before this string; \\n is a line end, \\t a tab, \\\\ a backslash.",
)
@click.option("--stop-line", is_flag=True, help="End each sample at its line end, as --stop '\\n' does.")
@click.option(
    "--rng-seed",
    type=click.IntRange(min=0),
    help="Random seed: the same number gives the same sample.  [default: a new one each time, printed to stderr]",
)
@mix_option
@click.option("--count", default=1, show_default=True, type=click.IntRange(min=1), help="Number of samples.")
@click.option(
    "--novelty",
    is_flag=True,
    help="Print to stderr what was copied from the training text, which must still be available, and how many samples "
    "are whole lines of it.",
)
@click.option(
    "--new",
    is_flag=True,
    help="Leave out samples that are empty or lines of the training text, and go on until there are --count. Without "
    "--stop or --stop-line, whole samples are compared with its lines.",
)
@click.option("--unique", is_flag=True, help="Leave out samples that came before, and go on until there are --count.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per sample.")
def command(
    run: str | None,
    seed: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    stop_line: bool,
    rng_seed: int | None,
    mix: bool,
    count: int,
    novelty: bool,
    new: bool,
    unique: bool,
    as_json: bool,
) -> None:
    """Write text that continues a seed text, character by character as it is generated.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints. Only the sample goes to
    standard output. With --count, each sample ends with a line end.

    With --new or --unique, a sample and the last line of its seed text are compared as one line. If too many tries are
    in vain, the exit code is 1 and a message has the number of samples that were found.
    """
    spec = SampleSpec(length, temperature, top_k, top_p, stop_of(stop, stop_line))
    path = run_or_newest(run)
    model = load(path, mix=mix)
    learned_from = TrainingText.of(path) if novelty or new else None
    show_mix(model)
    _show_unknown(model, seed, spec.stop)
    if rng_seed is None:
        rng_seed = secrets.randbelow(2**32)
        echo(f"Random seed {rng_seed} (--rng-seed {rng_seed} gives this sample again)", err=True)

    report = SampleReport(seed, rng_seed, learned_from if novelty else None, as_json, has_stop=spec.stop is not None)
    with blas_threads(1 if count == 1 else None):  # one sample is too little work for several threads
        if new or unique:
            _show_new(model, seed, spec, rng_seed, count, learned_from if new else None, unique, report)
        elif count == 1 and not as_json:
            _show_one(model, seed, spec, rng_seed, report)
        else:
            for first in range(0, count, MOST_AT_ONCE):
                numbers = range(first, min(first + MOST_AT_ONCE, count))
                samples = model.samples(seed, spec, rng_seed=rng_seed, numbers=numbers)
                for number, sample in zip(numbers, samples, strict=True):
                    report.show(number, sample)
    report.end()


def stop_of(stop: str | None, stop_line: bool) -> str | None:
    """The string before which samples end; None for samples of the full length. Raises UsageError for both options."""
    if stop is not None and stop_line:
        raise click.UsageError("--stop-line is --stop at a line end: leave one of --stop and --stop-line out")
    return "\n" if stop_line else stop


def _show_unknown(model: TrainedModel, seed: str, stop: str | None) -> None:
    """Print to stderr which characters of the seed text and of the stop the model does not know."""
    in_seed, in_stop = Unseen(model.vocabulary), Unseen(model.vocabulary)
    in_seed.add(seed)
    in_stop.add(stop or "")
    if in_seed.characters:
        echo(f"The model never saw {in_seed.names}: read as the unknown character", err=True)
    if in_stop.characters:
        echo(
            f"The model never writes {in_stop.names}, so no sample stops there: give a --stop of characters that "
            "charlm info lists",
            err=True,
        )


def _show_one(model: TrainedModel, seed: str, spec: SampleSpec, rng_seed: int, report: SampleReport) -> None:
    """Write one sample while it is generated."""
    text = _stream(seed, model.sample(seed, spec, rng_seed=(rng_seed, 0)))
    if sys.stdout.isatty() and (seed + text)[-1:] != "\n":
        sys.stdout.write("\n")
    sys.stdout.flush()
    report.compare(Sample(text, "length" if len(text) == spec.length else "stop", seed))


def _show_new(
    model: TrainedModel,
    seed: str,
    spec: SampleSpec,
    rng_seed: int,
    count: int,
    known: TrainingText | None,
    unique: bool,
    report: SampleReport,
) -> None:
    """Write samples that are new, different, or both. Raises CharlmError if too few are found."""
    is_known = known.has_line if known else None
    selection = model.new_samples(count, seed, spec, rng_seed=rng_seed, is_known=is_known, unique=unique)
    for number, sample in selection:
        report.show(number, sample)
    if not selection.is_complete:
        kind = " ".join(["different"] * unique + ["new"] * bool(known))
        raise CharlmError(
            f"only {selection.found} of {count} {kind} samples after {selection.tries:,} tries: a higher --temperature "
            "gives more"
        )


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
