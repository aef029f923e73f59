"""What a text costs without a network: an n-gram, PPM, and the compressors that every system has.

The n-gram counts the same training part and is scored on the same validation part in the same way, from its beginning
and after a newline. So is PPM, but it goes on learning while it is scored; of long texts it takes a part, see
charlm.predict.ppm. bzip2 and xz compress the validation part alone, as UTF-8: they have not seen the training part, and
their files have headers, so for very short texts their results mean little.
"""

from __future__ import annotations

import bz2
import lzma
import math

from charlm.corpus.corpus import Corpus
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import Counts
from charlm.predict.ngram_file import save_counts
from charlm.predict.ppm import ppm_nats
from charlm.predict.run_mixture import MOST_TRIED, measure_ngram
from charlm.runs.figures import Baselines
from charlm.runs.run import Run
from charlm.scoring.score import score_ids

SMALLEST_DICTIONARY = 2**12  # bytes; of xz


def measure_baselines(run: Run, corpus: Corpus) -> Baselines:
    """The baselines of a run: read from the run, or measured and written there, which takes seconds at most.

    Raises RunError, also if another process is training in the run, and StorageError.
    """
    if (kept := Baselines.of(run)) is not None and run.ngram_path.exists():
        return kept
    ngram, validation_ids = measure_ngram(run, corpus)
    training_ids, _ = corpus.split(run.spec)
    unigram = NGram.of(Counts.of(training_ids, ngram.V, 1), ngram.start)
    tried = validation_ids[:MOST_TRIED]
    text = corpus.vocabulary.decode(tried).encode()
    baselines = Baselines(
        characters=len(validation_ids),
        ngram_order=ngram.order,
        ngram_nats=score_ids(ngram, validation_ids).nats_per_char,
        bzip2_nats=8 * math.log(2) * len(bz2.compress(text, 9)) / len(tried),
        xz_nats=8 * math.log(2) * xz_bytes(text) / len(tried),
        unigram_nats=score_ids(unigram, validation_ids).nats_per_char,
        ppm_nats=float(ppm_nats(training_ids, validation_ids, ngram.V, ngram.start).mean()),
    )
    with run.held():
        save_counts(run.ngram_path, ngram.counts)
        baselines.save(run)
    return baselines


def xz_bytes(data: bytes) -> int:
    """The size of the file that `xz -9e` makes, with a dictionary as large as the data, which takes less memory."""
    dictionary = max(SMALLEST_DICTIONARY, 1 << len(data).bit_length())
    best = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}
    return len(lzma.compress(data, filters=[best]))
