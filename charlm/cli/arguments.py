"""Arguments that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click

from charlm import is_run, newest_run


class Utf8Text(click.ParamType[str]):
    """Text from the command line as UTF-8, whatever the locale made of its bytes."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Undo a decoding under another locale. Fails where the bytes are not UTF-8."""
        try:
            return os.fsencode(value).decode("utf-8") if any("\ud800" <= c <= "\udfff" for c in value) else value
        except UnicodeDecodeError:
            self.fail("is not UTF-8 text", param, ctx)


def run_or_newest(target: str | Path | None) -> Path:
    """The run that was named, or the newest one under ./checkpoints, which is then said on stderr."""
    if target is not None:
        return Path(target)
    path = newest_run()
    click.echo(f"Using the newest run, {path}", err=True)
    return path


def run_and_files(arguments: tuple[str, ...]) -> tuple[Path, list[str]]:
    """Split `[RUN] [FILE...]`: the first argument is the run if it is a run directory or a checkpoint file."""
    first, files = arguments[:1], list(arguments)
    if first and (is_run(first[0]) or first[0].endswith(".safetensors")):
        return Path(first[0]), files[1:]
    return run_or_newest(None), files
