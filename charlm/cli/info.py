"""charlm info"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from charlm import Run, load, summary, verdict
from charlm.cli.arguments import run_or_newest
from charlm.cli.screen import json_line
from charlm.cli.streams import echo


@click.command("info", short_help="Show a run: sizes, vocabulary, where it stands.")
@click.argument("run", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: str | None, as_json: bool) -> None:
    """Show a run or a checkpoint file: sizes, parameters, vocabulary, where training stands, files.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints.
    """
    path = run_or_newest(run)
    facts = _checkpoint_facts(path) if path.is_file() else _run_facts(Run.open(path))
    if as_json:
        echo(json_line(facts))
        return
    for name, value in facts.items():
        echo(f"{name.replace('_', ' '):>16}  {_shown(value)}")


def _run_facts(run: Run) -> dict[str, Any]:
    facts = summary(run) | {"verdict": verdict(run) or None}
    facts |= {name: run.config[name] for name in ("model", "training", "corpus")}
    if run.origin:
        facts["origin"] = {name: value for name, value in run.origin.items() if name != "vocabulary"}
    if run.last_path.exists():
        facts["characters_known"] = load(run.last_path).vocabulary.characters
    facts["files"] = sorted(file.name for file in run.path.iterdir() if not file.name.startswith("."))
    return facts


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    model = load(path)
    return {
        "checkpoint": str(path),
        "model": asdict(model.spec),
        "parameters": model.spec.parameters,
        "vocabulary": len(model.vocabulary),
        "steps": model.progress.get("step"),
        "validation_nats": model.progress.get("validation_nats"),
        "best_nats": model.progress.get("best_nats"),
        "characters_known": model.vocabulary.characters,
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_shown(name)} {_shown(entry)}" for name, entry in value.items() if entry is not None)
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):  # a file name, whose bytes the locale may not know
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return value if value.isprintable() else ascii(value)[1:-1] if value.isascii() else repr(value)[1:-1]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else "none yet" if value is None else str(value)
