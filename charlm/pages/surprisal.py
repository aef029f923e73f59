"""A page that shows a text coloured by surprisal, and what the model had expected at every character."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charlm.colours import SURPRISE_DAY, SURPRISE_NIGHT
from charlm.errors import SpecError
from charlm.nn.arrays import Floats, Ids
from charlm.pages.excerpt import Excerpt, Passage
from charlm.pages.frame import asset, bars, coloured, label, page
from charlm.pages.style import rules
from charlm.predicting import likeliest
from charlm.store.atomic import require_folder, write_atomic
from charlm.text.lines import lines_of
from charlm.text.source import Source

if TYPE_CHECKING:
    from charlm.trained import TrainedModel

ALTERNATIVES = 5
LEVELS = len(SURPRISE_DAY)  # one a bit; the last is for all that cost more
BINS = 25  # half a bit each; the last is for all that cost more
ENDINGS = (".html", ".htm")
PANEL = """<div id="panel" aria-live="polite"><p class="hint">Point at a character or tap it: here is what the model
expected there. The arrow keys walk through the text.</p></div>"""
ESCAPE = "any character it never saw"


class SurprisalPage:
    """The page of some texts: filled while they are read, then written.

    Raises SpecError for a name that is no page's, StorageError where there is no such folder: before anything is read.
    """

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output)
        if self.output.suffix.lower() not in ENDINGS:
            raise SpecError(f"a page's name ends in .html, not {self.output.suffix!r}: {self.output}")
        require_folder(self.output)
        self.excerpt = Excerpt()

    def of(self, texts: Iterable[Source]) -> Iterator[Source]:
        """The texts, once more: whoever reads them gives the page what it shows."""
        return self.excerpt.of(texts)

    def write(self, model: TrainedModel, *, reset: str = "file") -> str:
        """Write the page, and tell so. reset: where the state starts anew, see `charlm.listing`."""
        note = _note(self.excerpt)
        write_atomic(self.output, surprisal_page(model, self.excerpt.passages, reset=reset, note=note))
        return f"Wrote {self.output}" + (f" ({note})" if note else "")


def surprisal_page(model: TrainedModel, passages: Sequence[Passage], *, reset: str = "file", note: str = "") -> bytes:
    """The page as UTF-8; see `SurprisalPage`. note: a sentence about the text, for the reader."""
    text = "".join(passage.text for passage in passages)
    bits, ranks, top, shares = _read(model, passages, reset)
    known = set(model.vocabulary.characters)
    used, dense = np.unique(top, return_inverse=True)
    alphabet = [*model.vocabulary.characters, ESCAPE]
    data = {
        "bits": np.rint(100 * bits).astype(int).tolist(),  # hundredths
        "ranks": ranks.tolist(),
        "alphabet": [alphabet[one] for one in used],
        "top": dense.ravel().tolist(),
        "shares": np.rint(10_000 * shares).astype(int).ravel().tolist(),  # hundredths of a per cent
        "each": top.shape[1],
        "labels": {c: label(c) for c in sorted({*text, *model.vocabulary.characters}) if label(c) != c},
    }
    levels = np.minimum(bits.astype(int), LEVELS - 1)
    classes = [f"c{level}" if c in known else f"c{level} u" for c, level in zip(text, levels, strict=True)]
    names = [Path(passage.source).name for passage in passages]
    name = ", ".join(names if len(names) <= 3 else [*names[:3], "..."]) or "a text"
    return page(
        f"{name}: what the model expected",
        _body(model.name, name, note, bits, ranks, _passages(passages, classes), any(" u" in one for one in classes)),
        style=rules("c", SURPRISE_DAY, SURPRISE_NIGHT),
        script=asset("panel.js") + asset("surprisal.js"),
        data=data,
    )


def _note(excerpt: Excerpt) -> str:
    if excerpt.kept == excerpt.characters:
        return ""
    return f"the first {excerpt.kept:,} of {excerpt.characters:,} characters"


def _read(model: TrainedModel, passages: Sequence[Passage], reset: str) -> tuple[Floats, Ids, Ids, Floats]:
    """Of every character its bits and rank (N,), and the ids and probabilities (N, k) of the k likeliest instead."""
    pieces = [passage.text for passage in passages]
    if reset == "line":
        pieces = [line for piece in pieces for line in lines_of([piece])]
    ids = model.vocabulary.encode("".join(pieces), escape=True)
    bits, ranks = np.zeros(len(ids)), np.zeros(len(ids), np.int64)
    k = min(ALTERNATIVES, len(model.vocabulary) + 1)
    top, shares = np.zeros((len(ids), k), np.int64), np.zeros((len(ids), k))
    at = 0
    for log_p in model.predictions(pieces, reset=reset != "never"):
        window = slice(at, at + len(log_p))
        chosen = np.take_along_axis(log_p, ids[window, None].astype(np.int64), axis=1)
        bits[window] = -chosen[:, 0] / math.log(2)
        ranks[window] = 1 + np.sum(log_p > chosen, axis=1)
        top[window], shares[window] = likeliest(log_p, k)
        at += len(log_p)
    bits[ids == model.vocabulary.escape] += math.log2(model.vocabulary.others)
    return bits, ranks, top, shares


def _body(model: str, name: str, note: str, bits: Floats, ranks: Ids, text: str, has_unknown: bool) -> str:
    unknown = (
        '<p class="key"><b class="u">underlined</b> a character that the model never saw</p>' if has_unknown else ""
    )
    return f"""\
<header>
<h1>What the model expected</h1>
<p><bdi>{escape(model)}</bdi> reads <bdi>{escape(name)}</bdi>{f": {note}" if note else ""}.
{_figures(bits, ranks)}</p>
</header>
<main>
<aside>
{PANEL}
<h2>How surprising, how often</h2>
{_histogram(bits)}
</aside>
<section aria-label="The text">
{_legend()}{unknown}
{text}
</section>
</main>"""


def _figures(bits: Floats, ranks: Ids) -> str:
    if not len(bits):
        return "The text is empty."
    return (
        f"{len(bits):,} characters at {bits.mean():.2f} bits each on average; its first choice was right for "
        f"{np.mean(ranks == 1):.0%} of them, one of its first five for {np.mean(ranks <= ALTERNATIVES):.0%}."
    )


def _passages(passages: Sequence[Passage], classes: Sequence[str]) -> str:
    parts, at = [], 0
    for passage in passages:
        if len(passages) > 1:
            parts.append(f"<h2><bdi>{escape(passage.source)}</bdi></h2>")
        parts.append(coloured(passage.text, classes[at : at + len(passage.text)]))
        at += len(passage.text)
    return "\n".join(parts)


def _legend() -> str:
    swatches = "".join(
        f'<li class="c{level}">{level}{"+" if level == LEVELS - 1 else ""}<small>{2**level}</small></li>'
        for level in range(LEVELS)
    )
    return (
        '<ol class="legend" aria-label="Colours: surprisal in bits, from 0 to 8 and more">'
        f'<li class="said">bits<small>one in</small></li>{swatches}</ol>'
    )


def _histogram(bits: Floats) -> str:
    counts = np.bincount(np.minimum((2 * bits).astype(int), BINS - 1), minlength=BINS)
    shares = counts / max(1, len(bits))
    ticks = {bit * 2 / BINS: f"{bit}{'+' if bit == BINS // 2 else ''}" for bit in range(0, BINS // 2 + 1, 2)}
    spoken = (
        f"{shares[:2].sum():.0%} of the characters cost less than one bit, {shares[8:].sum():.0%} four bits or more"
    )
    kinds = [f"c{min(number // 2, LEVELS - 1)}" for number in range(BINS)]
    return bars(shares.tolist(), kinds, ticks, spoken) + f"<p>Bits of surprisal: {spoken}.</p>"
