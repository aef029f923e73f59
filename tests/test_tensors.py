"""A damaged safetensors file is refused by its owner: one reason, and one piece of advice that fits the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_files import CHECKPOINT, NGRAM, checkpoint_parts, forged
from refusals import refusal
from runs import some_checkpoint

from charlm.errors import CheckpointError, RunError
from charlm.files.tensors import MOST_HEADER
from charlm.predict.ngram_counts import Counts
from charlm.predict.ngram_file import load_ngram, save_counts
from charlm.runs.checkpoint import load_checkpoint, save_checkpoint

V = 6
ANOTHER, AGAIN = "use another checkpoint", "remove it, and charlm train --resume makes it again"
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "header": (lambda data: data.replace(b"dtype", b'dt"pe', 1), "not a whole safetensors file"),
    "truncated": (lambda data: data[:-1], "not a whole safetensors file"),
    "checksum": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "does not match its checksum"),
    "too long a header": (
        lambda data: (MOST_HEADER + 1).to_bytes(8, "little") + data[8:],
        "a header of 8,388,609 bytes",
    ),
    "empty": (lambda data: b"", "not a whole safetensors file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(damage: str, tmp_path: Path) -> None:
    """Law: the message names the file and the reason, and says once to use another checkpoint."""
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, some_checkpoint())
    change, reason = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    message = refusal(CheckpointError, load_checkpoint, path)
    assert message.count(str(path)) == 1 and reason in message
    assert message.endswith(f"; {ANOTHER}") and message.count(ANOTHER) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ngram_file(damage: str, tmp_path: Path) -> None:
    """Law: the same, but the advice is to remove the file; it does not speak of checkpoints."""
    path = tmp_path / "ngram.counts"
    save_counts(path, Counts.of(np.random.default_rng(0).integers(0, V - 1, 300), V, 4))
    change, reason = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    message = refusal(RunError, load_ngram, path, V, 0)
    assert message.count(str(path)) == 1 and reason in message
    assert message.endswith(f": {AGAIN}") and message.count(AGAIN) == 1
    assert "checkpoint" not in message


def test_a_file_of_the_other_kind(tmp_path: Path) -> None:
    """Law: one piece of advice for a whole file that holds something else, too."""
    checkpoint, ngram = tmp_path / "x.safetensors", tmp_path / "ngram.counts"
    save_checkpoint(checkpoint, some_checkpoint())
    head, tensors = checkpoint_parts(checkpoint.read_bytes(), CHECKPOINT)
    ngram.write_bytes(forged(head, tensors, NGRAM))
    assert refusal(CheckpointError, load_checkpoint, ngram).endswith(f"; {ANOTHER}")
    for path in (checkpoint, ngram):
        assert refusal(RunError, load_ngram, path, V, 0).endswith(f": {AGAIN}")
