"""The result of `charlm train`: as text or as JSON."""

from __future__ import annotations

import sys

from charlm import Corpus, Run, forgetting, summary, verdict
from charlm.cli.plot import curve_of
from charlm.cli.screen import json_line
from charlm.cli.streams import echo
from charlm.errors import in_shell


def show_result(run: Run, corpus: Corpus, quiet: bool) -> None:
    """Print the validation loss, the verdict, the files, and the next command to type."""
    figures = summary(run)
    if figures["validation_nats"] is None:
        echo(f"Stopped before the first evaluation; the run is in {run.path}")
        return
    if sys.stdout.isatty() and not quiet:
        echo(f"\n{curve_of(run.path)}")
    echo(
        f"Validation loss {figures['validation_nats']:.4f} nats per character ({figures['validation_bpc']:.3f} bits), "
        f"best at step {figures['best_step']:,} of {figures['steps']:,}"
    )
    _show_forgetting(run)
    if sentence := verdict(run):
        echo(sentence)
    echo(f"  run      {run.path}\n  picture  {run.plot_path}\n  model    {run.best_path}")
    if run.is_records:
        echo(f"Next: charlm sample {in_shell(run.path)} --count 20 --new --unique")
        return
    seed = "T" if "T" in corpus.vocabulary.characters else corpus.usual_start
    echo(f"Next: charlm sample {in_shell(run.path)} --seed {in_shell(seed)}")


def show_json(run: Run) -> None:
    """Print the result as one JSON object."""
    figures = summary(run)
    if found := forgetting(run):
        figures |= {
            "validation_nats_before": found.new_before,
            "old_validation_nats_before": found.old_before,
            "old_validation_nats": found.old_after,
        }
    echo(json_line(figures))


def _show_forgetting(run: Run) -> None:
    """Print the losses on the new and the old text, before and after, of a run that started from a model."""
    found = forgetting(run)
    if found is None:
        return
    echo("   before   after  nats per character on the validation part of")
    echo(f"{found.new_before:>9.4f}{found.new_after:>8.4f}  this text")
    if found.old_before is not None and found.old_after is not None:
        echo(f"{found.old_before:>9.4f}{found.old_after:>8.4f}  the text that the model came with")
    else:
        echo(f"        ?       ?  the text that the model came with: {found.reason}")
