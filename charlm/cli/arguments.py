"""Arguments that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from charlm import TrainedModel, is_run, newest_run
from charlm.cli.streams import echo


def as_utf8(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of an option: its text decoded as UTF-8, in any locale."""
    if value is None or not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    try:
        return os.fsencode(value).decode("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter("expected UTF-8 text, and this is not: convert it", ctx, param) from None


def unescaped(option: str, text: str) -> str:
    """A text in which \\n is a line end, \\t a tab and \\\\ one backslash; if it has any, this is said on stderr."""
    found = re.sub(r"\\([nt\\])", lambda match: {"n": "\n", "t": "\t", "\\": "\\"}[match[1]], text)
    if found != text:
        echo(f"{option} is read as {found!r}: \\n is a line end, \\t a tab, \\\\ a backslash", err=True)
    return found


def run_or_newest(target: str | Path | None) -> Path:
    """The given run, or the newest one under ./checkpoints, whose name is printed to stderr."""
    if target is not None:
        return Path(target)
    path = newest_run()
    echo(f"Using the newest run, {path}", err=True)
    return path


def run_and_files(arguments: tuple[str, ...]) -> tuple[Path, list[str]]:
    """Split `[RUN] [FILE...]`: the first argument is the run if it is a run directory or a checkpoint file.

    Raises UsageError if it does not exist, and RunError if no run is given and there is none.
    """
    first, files = arguments[:1], list(arguments)
    if first and (is_run(first[0]) or first[0].endswith(".safetensors")):
        return Path(first[0]), files[1:]
    if len(files) > 1 and files[0] != "-" and not Path(files[0]).exists():
        raise click.UsageError(f"{files[0]} is neither a run, nor a checkpoint, nor a text: check the spelling")
    return run_or_newest(None), files


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """--glob and --encoding, with which texts are read; `how_to_read` makes arguments of them."""
    glob = click.option(
        "--glob",
        multiple=True,
        metavar="PATTERN",
        help="Files to read of folders, such as '*.md', or 'notes/*.md' for a path below the folder; may be given "
        "several times.  [default: *.txt, packed or not]",
    )
    return glob(encoding_option(command))


encoding_option = click.option(
    "--encoding", metavar="NAME", help="Encoding of the texts, such as windows-1252 or utf-16.  [default: utf-8]"
)


def how_to_read(sources: Sequence[str], glob: Sequence[str], encoding: str | None) -> dict[str, Any]:
    """The arguments of `read_texts` for --glob and --encoding. Raises UsageError for --glob without a folder.

    sources: empty if they are those of a run.
    """
    if glob and sources and not any(os.path.isdir(source) for source in sources):
        raise click.UsageError("--glob chooses files of a folder, and none is named; write the pattern in quotes")
    return {"glob": glob or None, "encoding": encoding}


mix_option = click.option(
    "--mix",
    is_flag=True,
    help="Interpolate with the run's n-gram, with the weight that is best on the validation part, if that is better "
    "than the network alone.",
)


def show_warning(model: TrainedModel) -> None:
    """Print to stderr what is wrong with a model, if anything."""
    if model.warning:
        echo(model.warning, err=True)


def show_mix(model: TrainedModel) -> None:
    """Print to stderr what --mix does: the weights, and the losses on the validation part."""
    if (mix := model.mix) is None:
        return
    if model.mixture is None:
        message = (
            f"Not mixed: on the validation part the mixture has {mix.nats:.3f} nats per character, the network alone "
            f"{mix.network_nats:.3f}"
        )
    else:
        message = (
            f"Mixed: {mix.weight:.2f} of the network and {1 - mix.weight:.2f} of a {model.ngram_order}-gram; "
            f"on the validation part {mix.network_nats:.3f} and {mix.ngram_nats:.3f} nats per character, together "
            f"{mix.nats:.3f}"
        )
    echo(message, err=True)
