"""Choose what of a text is kept for validation, and check that it is like the rest.

A loss on a part that is unlike the text misleads: the wrong model is kept as the best, and training is stopped too
early. The published figures are of the tail, so that stays the default for one continuous text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from charlm.arrays import Floats, Ids, UnsignedIds
from charlm.config import TrainSpec, training_length
from charlm.corpus.corpus import Corpus
from charlm.corpus.record_check import is_list_of_records
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import Counts
from charlm.text.joined import IdsLike, Joined, Records
from charlm.text.pieces import lines_of

AUTO = "auto"
ORDER = 3  # of the n-gram that compares the tail with the rest
SAMPLES, SAMPLE = 9, 4000  # passages of the tail, and of the rest, and their characters, at most
LEAST_SAMPLE = 100
COUNTED = 2**20  # characters of the rest that are counted, at most, all around the passages
MOST_ABOVE = 7  # passages of the tail may cost more than every one of the rest; in continuous texts, 6 at most
CLEAR = 6.0  # standard errors of the mean of the rest
FOREIGN, MOST_FOREIGN = 1.9, 1  # times the mean of the rest, and how many passages of the tail may cost so much
COPIED_SHORT = 0.5  # the same with lines of any length, of which a play or a program repeats some
COPIED = 0.2  # share of the validation part in lines that the training part has, too
LONG_LINE = 30  # characters; shorter lines may be equal by chance
LEAST_LINES = 20  # with fewer, short ones tell nothing
MOST_COMPARED = 2**24  # characters of the training part; all pages of a mapped file that are read count as memory
READ = 2**20  # characters at a time


class ValidationChoice(NamedTuple):
    """validation: a value of `TrainSpec.validation`. notes: one sentence each. is_like: whether it is like the rest."""

    validation: str
    notes: list[str]
    is_like: bool = True


def choose_validation(corpus: Corpus, spec: TrainSpec, asked: str = AUTO) -> ValidationChoice:
    """What suits a text, or what is `asked` for, with notes about what was chosen and what is wrong with it.

    spec: how much is kept. Raises CorpusError if the text is too short.
    """
    choice = _chosen(corpus, spec) if asked == AUTO else ValidationChoice(asked, [])
    if asked == "tail" and (found := unlike_tail(corpus, spec)):
        advice = "the best model would be chosen by it, so training does not end early: --validation blocks mends it"
        choice = ValidationChoice("tail", [f"{found}; {advice}"], is_like=False)
    spec = replace(spec, validation=choice.validation)
    share = copied_share(corpus, spec)
    if share > COPIED:
        choice.notes.append(
            f"{share:.0%} of the validation part are lines that are trained on, too, so its loss says little about new "
            "text: remove the copies, or name another text with --validation FILE"
        )
    return choice


def _chosen(corpus: Corpus, spec: TrainSpec) -> ValidationChoice:
    if corpus.held_out is not None:
        return ValidationChoice("files", [])
    if is_list_of_records(corpus.ids, corpus.vocabulary):
        training, validation = corpus.split(replace(spec, validation="records"))
        assert isinstance(training, Records) and isinstance(validation, Records)
        kept, lines = len(validation.starts), len(validation.starts) + len(training.starts)
        return ValidationChoice(
            "records",
            [
                f"Every line is read as a record, a text of its own; {kept:,} of {lines:,}, chosen by their content, "
                "are kept for validation (--validation tail: one continuous text)"
            ],
        )
    across = corpus.split(replace(spec, validation="blocks"))[0]
    if len(corpus.starts) > 1 and isinstance(across, Joined):  # long enough for a block
        return ValidationChoice(
            "blocks",
            [
                f"Validation takes pieces across all {len(corpus.starts):,} files (--validation tail: the end of the "
                "last one)"
            ],
        )
    if found := unlike_tail(corpus, spec):
        return ValidationChoice("blocks", [f"{found}: validation takes pieces across the text (--validation tail)"])
    return ValidationChoice("tail", [])


def unlike_tail(corpus: Corpus, spec: TrainSpec) -> str:
    """One clause that says how the end of a text differs from the rest; empty if it does not, or the text is short.

    An n-gram of the rest, without some passages, predicts these passages and as many of the tail.
    """
    ids, vocabulary = corpus.ids, corpus.vocabulary
    end = training_length(len(ids), spec.val_fraction, spec.val_limit)
    size = min(SAMPLE, (len(ids) - end) // SAMPLES)
    if size < LEAST_SAMPLE or end < 2 * SAMPLES * size:
        return ""
    inner = (np.arange(SAMPLES) + 0.5) * end / SAMPLES - size / 2
    outer = end + np.arange(SAMPLES) * ((len(ids) - end) // SAMPLES)
    passages = inner.astype(np.intp)
    ngram = _ngram_around(ids, passages, size, end, len(vocabulary) + 1, vocabulary.start)
    rest, tail = (_means(ngram, ids, starts, size) for starts in (passages, outer.astype(np.intp)))
    if not is_unlike(tail, rest):
        return ""
    return (
        f"The end of the text is unlike the rest ({tail.mean():.2f} nats per character against {rest.mean():.2f}, by a "
        f"{ORDER}-gram)"
    )


def is_unlike(tail: Floats, rest: Floats) -> bool:
    """Whether the end of a text is unlike the rest, from the nats per character of passages of both, each (SAMPLES,).

    It is if nearly all of its passages cost more than every passage of the rest, clearly more on average: another kind
    of text. And it is if some cost far more than any continuous text does: a part in another language, for example.
    """
    above = np.count_nonzero(tail > rest.max())
    error = rest.std(ddof=1) / math.sqrt(SAMPLES)
    is_another_kind = above > MOST_ABOVE and tail.mean() - rest.mean() > CLEAR * error
    return bool(is_another_kind or np.count_nonzero(tail > FOREIGN * rest.mean()) > MOST_FOREIGN)


def _ngram_around(ids: UnsignedIds, passages: Ids, size: int, end: int, V: int, start: int) -> NGram:
    """The n-gram of the text up to `end` without the passages, or of as much around them as COUNTED allows."""
    around = COUNTED // (2 * SAMPLES)
    edges = np.concatenate([[0], np.repeat(passages, 2) + np.tile([0, size], SAMPLES), [end]])
    starts, ends = edges[::2].copy(), edges[1::2].copy()
    middle = (starts + ends) // 2
    first, second = np.minimum(starts + around, middle), np.maximum(ends - around, middle)
    starts, ends = np.stack([starts, second], 1).reshape(-1), np.stack([first, ends], 1).reshape(-1)
    return NGram.of(Counts.of(Joined(ids, starts, ends)[:], V, ORDER), start)


def _means(ngram: NGram, ids: UnsignedIds, starts: Ids, size: int) -> Floats:
    pieces = (ids[start : start + size] for start in starts)
    return np.array([nats.mean() for nats in ngram.nats(pieces, reset=True)])


def copied_share(corpus: Corpus, spec: TrainSpec) -> float:
    """The share of the validation part in lines that the training part has, too.

    Lines of LONG_LINE characters or more count; shorter ones only if there are LEAST_LINES and more than COPIED_SHORT
    of the part is copied. It is 0 for records, whose equal lines are in the same part. Of a large text the last
    MOST_COMPARED characters are read.
    """
    training, validation = corpus.split(spec)
    if isinstance(validation, Records):
        return 0.0
    kept = list(_lines(validation, corpus))
    sought = set(kept)
    met = {line for line in _lines(training, corpus) if line in sought}
    copied = [len(line) + 1 for line in kept if line in met]
    of_all = sum(copied) / len(validation)
    is_copy = len(kept) >= LEAST_LINES and of_all > COPIED_SHORT
    return of_all if is_copy else sum(size for size in copied if size > LONG_LINE) / len(validation)


def _lines(ids: IdsLike, corpus: Corpus) -> Iterator[str]:
    start = max(0, len(ids) - MOST_COMPARED)
    pieces = (corpus.vocabulary.decode(ids[at : at + READ]) for at in range(start, len(ids), READ))
    return (line.removesuffix("\n") for line in lines_of(pieces))
