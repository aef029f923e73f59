"""What a text costs without a network: by counting, and by the compressors that everybody has.

A loss says little by itself. Beside it stand what a character n-gram comes to, which learned from the same training
part and is scored on the same validation part in the same way: from its beginning, after a newline. And what bzip2
and xz make of that part alone, as UTF-8: they have not seen the training part, and their files have headers, so of
very short texts they tell nothing.
"""

from __future__ import annotations

import bz2
import lzma
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from charlm.errors import RunError, in_short
from charlm.ngram import MOST_ORDER, NGram, best_ngram
from charlm.nn.arrays import Ids
from charlm.plan import split, train_spec
from charlm.store.corpus import Corpus
from charlm.store.counts import REMEDY, save_counts
from charlm.store.run import Run
from charlm.store.strict_json import MOST_NUMBER

MOST_TRIED = 2**20  # characters of the validation part that orders are compared on, and that are compressed
FEW = 1000  # characters; with fewer, every result is a rough one, and a compressor's means nothing
SMALLEST_DICTIONARY = 2**12  # bytes; of xz


@dataclass(frozen=True)
class Baselines:
    """Nats per character of a run's validation part, without a network."""

    characters: int  # of the validation part
    ngram_order: int  # which did best there
    ngram_nats: float
    bzip2_nats: float  # bzip2 -9 of that part alone
    xz_nats: float  # xz -9e of that part alone

    @property
    def ngram_name(self) -> str:
        """As people say it: 5-gram."""
        return f"{self.ngram_order}-gram"

    @property
    def compressed(self) -> tuple[float, str] | None:
        """The better compressor's nats and its name; None where the part is too short for them to tell anything."""
        if self.characters < FEW:
            return None
        return min((self.bzip2_nats, "bzip2"), (self.xz_nats, "xz"))

    @classmethod
    def of(cls, run: Run) -> Baselines | None:
        """Those that were measured for a run; None before. Raises RunError where the file holds something else."""
        figures = run.figures("baselines")
        if figures is None:
            return None
        if figures.keys() == {field.name for field in fields(cls)} and _are_figures(figures):
            return cls(**figures)
        raise RunError(f"{run.figures_path('baselines')} does not hold baselines ({in_short(figures)}): {REMEDY}")


def measure_baselines(run: Run, corpus: Corpus) -> Baselines:
    """The baselines of a run: those that are kept with it, or else measured now, and kept. Takes seconds at most.

    Raises RunError, also where another process is training in the run, and StorageError.
    """
    if (kept := Baselines.of(run)) is not None and run.ngram_path.exists():
        return kept
    ngram, validation_ids = measure_ngram(run, corpus)
    tried = validation_ids[:MOST_TRIED]
    text = corpus.vocabulary.decode(tried).encode()
    baselines = Baselines(
        characters=len(validation_ids),
        ngram_order=ngram.order,
        ngram_nats=_mean_nats(ngram, validation_ids, corpus.vocabulary.start),
        bzip2_nats=8 * math.log(2) * len(bz2.compress(text, 9)) / len(tried),
        xz_nats=8 * math.log(2) * xz_bytes(text) / len(tried),
    )
    with run.held():
        save_counts(run.ngram_path, ngram.counts)
        run.save_figures("baselines", asdict(baselines))
    return baselines


def measure_ngram(run: Run, corpus: Corpus) -> tuple[NGram, Ids]:
    """The n-gram of a run's training part, of the order that is best on its validation part; and that part's ids."""
    spec = train_spec(run)
    training_ids, validation_ids = split(corpus.ids, spec.val_fraction, spec.val_limit)
    V, start = len(corpus.vocabulary) + 1, corpus.vocabulary.start
    return best_ngram(training_ids, V, validation_ids[:MOST_TRIED], [start])[0], validation_ids


def xz_bytes(data: bytes) -> int:
    """How long `xz -9e` would make it; with a dictionary as large as the data, which takes far less memory."""
    dictionary = max(SMALLEST_DICTIONARY, 1 << len(data).bit_length())
    best = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}
    return len(lzma.compress(data, filters=[best]))


def _mean_nats(ngram: NGram, ids: Ids, start: int) -> float:
    total, before = 0.0, np.array([start])
    for at in range(0, len(ids), MOST_TRIED):
        total += float(ngram.nats(ids[at : at + MOST_TRIED], before).sum())
        before = np.asarray(ids[max(0, at + MOST_TRIED - MOST_ORDER) : at + MOST_TRIED], np.int64)
    return total / len(ids)


def _are_figures(figures: Mapping[str, Any]) -> bool:
    counts = (figures["characters"], figures["ngram_order"])
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST_NUMBER
        for value in figures.values()
    ) and all(isinstance(count, int) and count >= 1 for count in counts)
