"""What an n-gram file means: the counts of a run's n-gram, in one safetensors file.

    grams (G,) uint64       packed n-grams, ascending: see charlm.predict.ngram_counts
    counts (G,) uint32      how often each comes

and in the head the format's version, V and the order. All else follows from them, so a file that is accepted gives
probabilities that sum to 1, whoever wrote it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from charlm.errors import RunError, in_shell
from charlm.files.atomic import write_atomic
from charlm.files.strict_json import parse_json
from charlm.files.tensors import checksum, packed, read_header, read_tensors, reason_of
from charlm.nn.model import MOST_CHARACTERS
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import MOST_COUNTED, MOST_GRAMS, Counts, longest_order
from charlm.runs.figures import REMEDY

FORMAT = 1
KEY = "charlm-ngram"
KINDS = {"grams": "U64", "counts": "U32"}


def save_counts(path: Path, counts: Counts) -> None:
    """Write an n-gram file, whole or not at all. Raises StorageError where the disk refuses."""
    head = {"format": FORMAT, "vocabulary": counts.vocabulary, "order": counts.order}
    write_atomic(path, packed(KEY, head, {"grams": counts.grams, "counts": counts.counts.astype(np.uint32)}))


def load_ngram(path: Path, V: int, start: int) -> NGram:
    """Read the n-gram file of a model over V ids, whose texts begin after `start`; checked as far as possible.

    Raises RunError for anything else, StorageError where the disk refuses.
    """
    if not path.is_file():
        raise RunError(f"no n-gram at {path}: charlm train --resume {in_shell(path.parent)} makes it")
    try:
        text, header = read_header(path, KEY, "make it readable")
        if text is None:
            raise ValueError("it is a safetensors file that charlm did not write as an n-gram")
        head = parse_json(text)
        order = _order(head, V)
        size = _size(header)
        tensors = read_tensors(path, list(KINDS), "make it readable")
        if head.pop("sha256") != checksum(head, tensors):
            raise ValueError("its content does not match its checksum")
        counts = Counts(V, order, tensors["grams"], tensors["counts"].astype(np.int64))
        assert len(counts.grams) == size
        counts.check()
        return NGram.of(counts, start)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} is not an n-gram file of this run ({reason_of(error)}): {REMEDY}") from None


def _order(head: Any, V: int) -> int:
    if head["format"] != FORMAT or head["vocabulary"] != V or not 2 <= V <= MOST_CHARACTERS + 1:
        raise ValueError(f"it is of format {head['format']!r} for {head['vocabulary']!r} characters, not {V}")
    order = head["order"]
    if not isinstance(order, int) or isinstance(order, bool) or not 1 <= order <= longest_order(V):
        raise ValueError(f"its order is {order!r}")
    return order


def _size(header: dict[str, Any]) -> int:
    """How many n-grams there are, before they are read: they may be many gigabytes."""
    if header.keys() != KINDS.keys() or any(header[name]["dtype"] != kind for name, kind in KINDS.items()):
        raise ValueError("its tensors are not those of an n-gram")
    (size,), (counts,) = header["grams"]["shape"], header["counts"]["shape"]
    if size != counts or not 1 <= size <= min(MOST_GRAMS, MOST_COUNTED):
        raise ValueError(f"it has {size!r} n-grams and {counts!r} counts")
    return int(size)
