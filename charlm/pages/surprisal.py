"""A page that shows a text coloured by surprisal, and for every character what the model expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.errors import SpecError
from charlm.files.atomic import require_folder, write_atomic
from charlm.pages.elements import coloured_text, histogram, label
from charlm.pages.excerpt import Excerpt, ShownText
from charlm.pages.frame import asset, page
from charlm.pages.style import level_rules
from charlm.plotting.colours import SURPRISAL_DARK, SURPRISAL_LIGHT
from charlm.predict.predictor import likeliest
from charlm.text.pieces import Source, lines_of

if TYPE_CHECKING:
    from charlm.trained_model import TrainedModel

ALTERNATIVES = 5
LEVELS = len(SURPRISAL_LIGHT)  # one per bit; the last level is for everything above
BINS = 25  # of half a bit; the last bin is for everything above
SUFFIXES = (".html", ".htm")
PANEL = """<div id="panel" aria-live="polite"><p class="hint">Point at a character, or tap it, to see what the model
expected there. The arrow keys move through the text.</p></div>"""
UNKNOWN = "any unknown character"


class SurprisalPage:
    """The page of some texts: filled while they are read, then written.

    Raises SpecError for a suffix other than .html, StorageError for a missing folder: both before a text is read.
    """

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output)
        if self.output.suffix.lower() not in SUFFIXES:
            raise SpecError(f"a page's name must end in .html, not {self.output.suffix!r}: {self.output}")
        require_folder(self.output)
        self.excerpt = Excerpt()

    def of(self, texts: Iterable[Source]) -> Iterator[Source]:
        """The same texts; their beginning is kept for the page while they are read."""
        return self.excerpt.of(texts)

    def write(self, model: TrainedModel, *, reset: str | None = None) -> str:
        """Write the page; returns a message about it. reset: as in `charlm.scoring.units.entries`."""
        note = _note(self.excerpt)
        write_atomic(self.output, surprisal_page(model, self.excerpt.texts, reset=reset, note=note))
        return f"Wrote {self.output}" + (f" ({note})" if note else "")


class _Expectations(NamedTuple):
    """What a model expected at each of N characters."""

    bits: Floats  # (N,): surprisal
    ranks: Ids  # (N,): of the character among all, from 1
    top: Ids  # (N, k): the ids of the k likeliest characters, likeliest first
    probabilities: Floats  # (N, k): of these


def surprisal_page(
    model: TrainedModel, texts: Sequence[ShownText], *, reset: str | None = None, note: str = ""
) -> bytes:
    """The page as UTF-8; see `SurprisalPage`. note: a remark on the text, such as how much of it is shown."""
    expected = _expectations(model, [shown.text for shown in texts], reset or model.usual_reset)
    text = "".join(shown.text for shown in texts)
    known = set(model.vocabulary.characters)
    levels = np.minimum(expected.bits.astype(int), LEVELS - 1)
    classes = [f"c{level}" if c in known else f"c{level} u" for c, level in zip(text, levels, strict=True)]
    names = [Path(shown.source).name for shown in texts]
    name = ", ".join(names if len(names) <= 3 else [*names[:3], "..."]) or "a text"
    return page(
        f"{name}: what the model expected",
        _body(model.name, name, note, expected, _text_section(texts, classes, not known.issuperset(text))),
        style=level_rules("c", SURPRISAL_LIGHT, SURPRISAL_DARK),
        script=asset("panel.js") + asset("surprisal.js"),
        data=_data(text, model.vocabulary.characters, expected),
    )


def _note(excerpt: Excerpt) -> str:
    if excerpt.kept == excerpt.characters:
        return ""
    return f"the first {excerpt.kept:,} of {excerpt.characters:,} characters"


def _expectations(model: TrainedModel, texts: Sequence[str], reset: str) -> _Expectations:
    pieces = [line for text in texts for line in lines_of([text])] if reset == "line" else texts
    ids = model.vocabulary.encode("".join(pieces), unknown=True)
    nats, ranks = np.zeros(len(ids)), np.zeros(len(ids), np.int64)
    k = min(ALTERNATIVES, len(model.vocabulary) + 1)
    top, probabilities = np.zeros((len(ids), k), np.int64), np.zeros((len(ids), k))
    start = 0
    for log_p in model.predictions(pieces, reset=reset != "never"):
        window = slice(start, start + len(log_p))
        actual = np.take_along_axis(log_p, ids[window, None].astype(np.int64), axis=1)
        nats[window] = -actual[:, 0]
        ranks[window] = 1 + np.sum(log_p > actual, axis=1)
        top[window], probabilities[window] = likeliest(log_p, k)
        start += len(log_p)
    bits = model.vocabulary.add_unknown_cost(nats, ids) / math.log(2)
    return _Expectations(bits, ranks, top, probabilities)


def _data(text: str, vocabulary: str, expected: _Expectations) -> dict[str, Any]:
    """What the script reads; numbers are integers, to keep the page small."""
    used, top = np.unique(expected.top, return_inverse=True)
    alphabet = [*vocabulary, UNKNOWN]
    return {
        "bits": np.rint(100 * expected.bits).astype(int).tolist(),  # hundredths
        "ranks": expected.ranks.tolist(),
        "alphabet": [alphabet[one] for one in used],
        "top": top.ravel().tolist(),  # places in the alphabet, k for each character of the text
        "probabilities": np.rint(10_000 * expected.probabilities).astype(int).ravel().tolist(),  # hundredths of 1 %
        "k": expected.top.shape[1],
        "labels": {c: label(c) for c in sorted({*text, *vocabulary}) if label(c) != c},
    }


def _body(model: str, name: str, note: str, expected: _Expectations, text_section: str) -> str:
    return f"""\
<header>
<h1>What the model expected</h1>
<p><bdi>{escape(model)}</bdi> reads <bdi>{escape(name)}</bdi>{f": {note}" if note else ""}.
{_summary(expected)}</p>
</header>
<main>
<aside>
{PANEL}
<h2>Distribution of surprisal</h2>
{_histogram(expected.bits)}
</aside>
{text_section}
</main>"""


def _summary(expected: _Expectations) -> str:
    if not len(expected.bits):
        return "The text is empty."
    return (
        f"{len(expected.bits):,} characters, {expected.bits.mean():.2f} bits per character. The likeliest character "
        f"was right for {np.mean(expected.ranks == 1):.0%} of them, one of the five likeliest for "
        f"{np.mean(expected.ranks <= ALTERNATIVES):.0%}."
    )


def _text_section(texts: Sequence[ShownText], classes: Sequence[str], has_unknown: bool) -> str:
    """The colour scale, and all texts; each with its source, if there are several."""
    parts, start = [_legend()], 0
    if has_unknown:
        parts.append('<p class="key"><b class="u">underlined</b> an unknown character, outside the vocabulary</p>')
    for shown in texts:
        if len(texts) > 1:
            parts.append(f"<h2><bdi>{escape(shown.source)}</bdi></h2>")
        parts.append(coloured_text(shown.text, classes[start : start + len(shown.text)]))
        start += len(shown.text)
    return "\n".join(['<section aria-label="The text">', *parts, "</section>"])


def _legend() -> str:
    swatches = "".join(
        f'<li class="c{level}">{level}{"+" if level == LEVELS - 1 else ""}<small>{2**level}</small></li>'
        for level in range(LEVELS)
    )
    return (
        '<ol class="legend" aria-label="Colours: surprisal in bits, from 0 to 8 and more">'
        f'<li class="name">bits<small>one in</small></li>{swatches}</ol>'
    )


def _histogram(bits: Floats) -> str:
    counts = np.bincount(np.minimum((2 * bits).astype(int), BINS - 1), minlength=BINS)
    shares = counts / max(1, len(bits))
    ticks = {bit * 2 / BINS: f"{bit}{'+' if bit == BINS // 2 else ''}" for bit in range(0, BINS // 2 + 1, 2)}
    description = (
        f"{shares[:2].sum():.0%} of the characters cost less than one bit, {shares[8:].sum():.0%} four bits or more"
    )
    kinds = [f"c{min(number // 2, LEVELS - 1)}" for number in range(BINS)]
    return histogram(shares.tolist(), kinds, ticks, description) + f"<p>Surprisal in bits: {description}.</p>"
