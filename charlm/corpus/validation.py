"""The parts of a text: what is trained on, and what is kept for validation.

tail       the end of the text: the protocol of published figures
blocks     the ends of several stretches across the text, and of every file that is long enough
records    lines, chosen by a hash of their content: a list that grows keeps its split, and equal lines stay together
files      another text, all of it
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from charlm.arrays import Ids, UnsignedIds
from charlm.config import TrainSpec, training_length
from charlm.errors import CorpusError
from charlm.text.joined import IdsLike, Joined, Records
from charlm.text.vocabulary import Vocabulary

STRETCHES = 10  # per file, at most
LEAST_BLOCK = 250  # characters; shorter ones would mostly measure how a block begins
LONGEST_LINE = 400  # characters; a block begins at the next line if that is near: within so many, and half a block
READ = 2**20  # characters at a time
HASH_BYTES = 8


def split(
    ids: UnsignedIds,
    spec: TrainSpec,
    vocabulary: Vocabulary,
    file_starts: Sequence[int] = (0,),
    held_out: UnsignedIds | None = None,
) -> tuple[IdsLike, IdsLike]:
    """The ids to train on and those for validation, at most `spec.val_limit`, of records about as many.

    Both are `Records` for validation "records". ids: (N,). file_starts: where each file begins. held_out: the text of
    validation "files". Raises CorpusError if a part would be too short: 2 characters to train on and 1 to evaluate are
    the least.
    """
    if spec.validation == "files":
        if held_out is None or not len(held_out) or len(ids) < 2:
            raise CorpusError("no text to validate on: read the corpus with validation=, a text of some lines")
        return ids, held_out[: spec.val_limit]
    least = "at least 2 are needed to train on and 1 to evaluate"
    if spec.validation == "records":
        return _records(ids, spec, vocabulary)
    training = training_length(len(ids), spec.val_fraction, spec.val_limit)
    if training < 2:
        raise CorpusError(
            f"a text of {len(ids)} characters is too short: {least}, beside {spec.val_fraction:.0%} for validation"
        )
    if spec.validation == "blocks":
        edges = list(_blocks(ids, (len(ids) - training) / len(ids), vocabulary.start, file_starts))
        if edges:
            return _cut(ids, np.array(edges))
    return ids[:training], ids[training:]


def _blocks(ids: UnsignedIds, share: float, newline: int, file_starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each validation block starts and ends. Files too short for a block of their own are joined to the next."""
    least = LEAST_BLOCK / share
    begin = 0
    for end in [*file_starts[1:], len(ids)]:
        stretches = min(STRETCHES, int((end - begin) / least))
        if not stretches:
            continue
        edges = np.linspace(begin, end, stretches + 1).astype(int).tolist()
        for start, stop in pairwise(edges):
            size = round(share * (stop - start))
            near = min(LONGEST_LINE, size // 2)
            first = _line_start(ids, stop - size, newline, near)
            yield first, stop if stop == end else _line_start(ids, stop, newline, near)
        begin = end


def _line_start(ids: UnsignedIds, place: int, newline: int, most: int) -> int:
    """The first beginning of a line among so many places from a place on, or the place itself if there is none."""
    near = np.flatnonzero(ids[max(0, place - 1) : place + most - 1] == newline)
    return place + int(near[0]) if len(near) else place


def _cut(ids: UnsignedIds, edges: Ids) -> tuple[IdsLike, UnsignedIds]:
    """Ids without those between edges (K, 2), and those."""
    starts, ends = np.concatenate([[0], edges[:, 1]]), np.concatenate([edges[:, 0], [len(ids)]])
    kept = starts < ends
    return Joined(ids, starts[kept], ends[kept]), np.concatenate([ids[start:end] for start, end in edges])


def line_edges(ids: UnsignedIds, newline: int) -> tuple[Ids, Ids]:
    """Where each line starts, and where it ends, its line end included; those after the last line end are left out."""
    ends = [at + 1 + np.flatnonzero(ids[at : at + READ] == newline) for at in range(0, len(ids), READ)]
    until = np.concatenate(ends)
    return np.concatenate([[0], until[:-1]]).astype(until.dtype) if len(until) else until, until


def _records(ids: UnsignedIds, spec: TrainSpec, vocabulary: Vocabulary) -> tuple[Records, Records]:
    newline = vocabulary.characters.find("\n")
    if newline >= 0 and ids[-1] != newline:
        ids = np.append(ids, ids.dtype.type(newline))  # the last line is a record, too
    starts, ends = line_edges(ids, newline)
    if newline < 0 or len(starts) < 2:
        raise CorpusError("validation by records needs two lines or more: use --validation tail for this text")
    hashes = _hashes(ids, starts, ends, vocabulary)
    share = min(spec.val_fraction, spec.val_limit / len(ids))
    distinct, which = np.unique(hashes, return_inverse=True)
    if len(distinct) < 2:
        raise CorpusError("all lines of this text are the same: there is nothing to validate on; use another text")
    sizes = np.bincount(which, ends - starts)  # of each distinct line with all its copies
    chosen = (distinct < np.uint64(share * 2.0**64)) & (sizes <= share * len(ids))
    if chosen.all() or not chosen.any():
        chosen = np.arange(len(distinct)) == sizes.argmin()
    chosen = chosen[which]
    training, validation = (Records(ids, starts[part], ends[part], newline) for part in (~chosen, chosen))
    return training, validation


def _hashes(ids: UnsignedIds, starts: Ids, ends: Ids, vocabulary: Vocabulary) -> Ids:
    """A hash of every line's characters, (K,), uniform in the numbers of 64 bits."""
    found = np.empty(len(starts), np.uint64)
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + READ, side="right")))
        text = vocabulary.decode(ids[starts[first] : ends[last - 1]])
        for number, line in enumerate(text.split("\n")[:-1], start=first):
            digest = hashlib.blake2b(line.encode(), digest_size=HASH_BYTES).digest()
            found[number] = int.from_bytes(digest, "little")
        first = last
    return found
