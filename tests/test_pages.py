"""Pages hold any text unchanged, show what the model computes in readable colours, and load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples, trained_run

from charlm.analysis.inspection import Inspection
from charlm.corpus.reader import Text
from charlm.errors import SpecError, StorageError
from charlm.pages import surprisal as surprisal_module
from charlm.pages.elements import label
from charlm.pages.excerpt import Excerpt, ShownText
from charlm.pages.frame import as_json
from charlm.pages.inspection import InspectionFile
from charlm.pages.surprisal import ALTERNATIVES, UNKNOWN, SurprisalPage, surprisal_page
from charlm.pages.units import SCALE, units_page
from charlm.plotting.colours import (
    DARK_PAGE,
    LIGHT_PAGE,
    MIDDLE,
    SIGNED_DARK,
    SIGNED_LIGHT,
    SURPRISAL_DARK,
    SURPRISAL_LIGHT,
    contrast,
    luminance,
    signed_level,
    text_colour,
)
from charlm.trained_model import TrainedModel, load

TEXT = LANTERNS.read_text(encoding="utf-8")
HOSTILE = (
    "</script><script>alert(1)</script><!-- <!DOCTYPE html>\n]]> &amp; &#13; &lt; \"'` \t x=`1` <img src=x onerror=x>\n"
    "\u2028\u2029\u202e\u0007\x1b\x7f\x85\r \u200d\ufeff {title} %s ${x}\n語 😀 e\u0301 שלום"
)
ANY_TEXT = st.text(
    st.sampled_from("\n\t\r <>&\"'/!-语é\u0301\u200d\u202e\u2028\x01\x85😀abc")
    | st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=60,
)
VOID = {"meta", "link", "input", "br"}


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return load(trained_run())


class Reader(HTMLParser):
    """Parses a page as a browser does: its texts, their classes, the scripts and all elements."""

    def __init__(self, html: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.classes: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self._in_text = 0
        self.feed(re.sub("\r\n?", "\n", html.decode()))  # browsers do so before they parse
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in VOID:
            return
        self.open.append(tag)
        if attributes.get("class") == "text":
            self.texts.append("")
            self._in_text = len(self.open)
        elif self._in_text:
            assert tag == "b"
            self.classes.append(attributes["class"] or "")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if len(self.open) == self._in_text:
            self._in_text = 0
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._in_text:
            self.texts[-1] += data
        elif self.open and self.open[-1] == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def page_of(model: TrainedModel, *texts: str, **choices: Any) -> Reader:
    shown = [ShownText(f"text{number}", text) for number, text in enumerate(texts)]
    return Reader(surprisal_page(model, shown, **choices))


# ------------------------------------------------------------------------------------------------------ text is text


@few_examples
@given(text=ANY_TEXT)
def test_a_page_holds_exactly_the_text(text: str) -> None:
    """Law: an HTML parser reads back the text, with every character in an element of its own."""
    page = page_of(load(trained_run()), text)
    assert "".join(page.texts) == text
    assert len(page.classes) == len(text)


def test_a_hostile_text_stays_text(model: TrainedModel) -> None:
    """Law: nothing in a text or in a file name becomes an element, script or attribute of the page."""
    harmless, page = page_of(model, "語" * len(HOSTILE)), page_of(model, HOSTILE)
    assert page.texts == [HOSTILE]
    assert not re.search(rb'">[<&]</b>', surprisal_page(model, [ShownText("x", HOSTILE)]))
    assert [tag for tag, _ in page.elements if tag != "b"] == [tag for tag, _ in harmless.elements if tag != "b"]
    assert page.scripts[1:] == harmless.scripts[1:]
    named = Reader(surprisal_page(model, [ShownText(f"a{HOSTILE}", "x"), ShownText("b", "y")], note=""))
    assert [tag for tag, _ in named.elements].count("script") == 2
    found = model.inspect(TEXT[:300] + HOSTILE)
    units = Reader(units_page(found, model="<b>", source=HOSTILE))
    assert units.texts == [TEXT[:300] + HOSTILE] and len(units.scripts) == 2


def test_lone_surrogates(model: TrainedModel) -> None:
    """Law: a string with a lone surrogate, which UTF-8 cannot encode, still makes a page."""
    assert page_of(model, "a\ud800b").texts == ["a?b"]


MARKUP = st.text(st.sampled_from('<>&!-/\u2028\u2029\n"script'), max_size=12)


@given(
    st.recursive(
        MARKUP | st.text() | st.integers() | st.booleans(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_cannot_leave_its_element(data: Any) -> None:
    """Law: the same data, without a character that could end the element, begin a comment or end a line."""
    text = as_json(data)
    assert json.loads(text) == data
    assert not set(text) & set("<>&\u2028\u2029\n") and text.isascii()


@pytest.mark.parametrize("kind", ["surprisal", "units"])
def test_nothing_is_loaded_and_only_its_own_script_runs(kind: str, model: TrainedModel) -> None:
    """Law: no address except an empty image; the security policy allows only the script with its hash."""
    html = (
        surprisal_page(model, [ShownText("x", TEXT[:200])])
        if kind == "surprisal"
        else units_page(model.inspect(TEXT[:200]), model="m", source="s")
    )
    page = Reader(html)
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action", "onclick", "onload"} & attributes.keys()
        assert attributes.get("href", "#").startswith(("#", "data:,"))  # type: ignore[union-attr]
    assert not re.search(rb"https?:|//[a-z]|url\(|@import", html)
    (policy,) = [a["content"] or "" for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}'" in policy
    assert re.search(rb'<meta name="viewport" content="width=device-width', html)


@pytest.mark.parametrize(
    ("character", "expected"),
    [("a", "a"), ("語", "語"), ("<", "<"), (" ", "space"), ("\n", "line end"), ("\t", "tab"), ("\x07", "U+0007"),
     ("\u0301", "U+0301 combining acute accent"), ("\u202e", "U+202E right-to-left override"),
     ("\xa0", "U+00A0 no-break space"), ("\ue000", "U+E000"), ("\u2028", "U+2028 line separator")],
)  # fmt: skip
def test_labels(character: str, expected: str) -> None:
    """Law: a visible character is its own label, any other is named."""
    assert label(character) == expected


# ------------------------------------------------------------------------------------------------ surprisal as colours


def test_the_page_shows_the_models_predictions(model: TrainedModel) -> None:
    """Law: bits, ranks and alternatives are those of the model's predictions; the colours follow the bits."""
    text = TEXT[:400] + "語z"
    page = page_of(model, text)
    data, vocabulary = page.data, model.vocabulary
    log_p = np.concatenate(list(model.predictions(text)))
    bits = model.surprisal(text) / math.log(2)
    np.testing.assert_allclose(np.array(data["bits"]) / 100, bits, atol=0.006)
    names = [*vocabulary.characters, UNKNOWN]
    k = data["k"]
    assert k == ALTERNATIVES and len(data["top"]) == len(data["probabilities"]) == k * len(text)
    for index, (row, one) in enumerate(zip(log_p, vocabulary.encode(text, unknown=True).tolist(), strict=True)):
        p, alternatives = np.exp(row), slice(index * k, (index + 1) * k)
        assert data["ranks"][index] == 1 + np.count_nonzero(row > row[one])
        probabilities = data["probabilities"][alternatives]
        assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) <= 10_000 + k
        np.testing.assert_allclose(np.array(probabilities) / 10_000, np.sort(p)[::-1][:k], atol=6e-5)
        shown = [data["alphabet"][number] for number in data["top"][alternatives]]
        assert {names.index(name) for name in shown} == set(np.argsort(-p, kind="stable")[:k].tolist())
    levels = [int(one.split()[0].removeprefix("c")) for one in page.classes]
    assert levels == [min(int(number), len(SURPRISAL_LIGHT) - 1) for number in bits]
    assert [c for c, kind in zip(text, page.classes, strict=True) if " u" in kind] == ["語"]


def test_hidden_characters_are_shown_by_a_symbol(model: TrainedModel) -> None:
    """Law: control and direction characters have a symbol outside the text; joiners, which shape letters, have none."""
    page = page_of(model, "a\x07\u202e\u200d\u2028\n")
    symbols = [attributes.get("data-symbol") for tag, attributes in page.elements if tag == "b" and attributes]
    assert [symbol for symbol in symbols if symbol] == ["U+0007", "U+202E", "U+2028"]
    assert page.texts == ["a\x07\u202e\u200d\u2028\n"]
    assert page.classes[-1].endswith(" n")


@pytest.mark.parametrize("reset", ["file", "line", "never"])
def test_several_texts(reset: str, model: TrainedModel) -> None:
    """Law: every text is shown, and scored with the same resets of the state as by the command."""
    texts = [TEXT[:150], TEXT[150:320]]
    page = page_of(model, *texts, reset=reset)
    assert page.texts == texts
    pieces = [line for text in texts for line in text.splitlines(keepends=True)] if reset == "line" else texts
    expected = np.concatenate(list(model.surprisals(pieces, reset=reset != "never"))) / math.log(2)
    np.testing.assert_allclose(np.array(page.data["bits"]) / 100, expected, atol=0.006)


def test_an_empty_text(model: TrainedModel) -> None:
    """Law: the page says that it is empty."""
    for html in (surprisal_page(model, []), surprisal_page(model, [ShownText("x", "")])):
        assert b"The text is empty." in html and "".join(Reader(html).texts) == ""


def test_the_histogram_and_the_summary(model: TrainedModel) -> None:
    """Law: they are the mean and the distribution of the characters' bits."""
    html = surprisal_page(model, [ShownText("x", TEXT[:500])]).decode()
    bits = model.surprisal(TEXT[:500]) / math.log(2)
    assert f"500 characters, {bits.mean():.2f} bits per character" in html
    assert f"{np.mean(bits < 1):.0%} of the characters cost less than one bit" in html
    shares = [float(share) for share in re.findall(r'%" title="([\d.]+)%"', html)]
    expected = 100 * np.histogram(np.minimum(bits, 12.1), 25, (0, 12.5))[0] / 500
    np.testing.assert_allclose(shares, expected, atol=0.051)


# ------------------------------------------------------------------------------------------------------------ colours


@pytest.mark.parametrize(("colours", "page"), [(SURPRISAL_LIGHT, LIGHT_PAGE), (SURPRISAL_DARK, DARK_PAGE)])
def test_colours_of_surprisal(colours: tuple[str, ...], page: str) -> None:
    """Law: lightness changes monotonically from the page's own colour, in steps of visible contrast (WCAG)."""
    assert colours[0] == page
    light = [luminance(colour) for colour in colours]
    assert light == sorted(light, reverse=page == LIGHT_PAGE)
    assert all(contrast(one, other) > 1.1 for one, other in pairwise(colours))


@pytest.mark.parametrize(("colours", "page"), [(SIGNED_LIGHT, LIGHT_PAGE), (SIGNED_DARK, DARK_PAGE)])
def test_signed_colours(colours: tuple[str, ...], page: str) -> None:
    """Law: lightness changes monotonically from the page's own colour to both ends; only the negative one is blue."""
    assert colours[MIDDLE] == page and len(colours) == 2 * MIDDLE + 1
    for side in (colours[MIDDLE:], colours[MIDDLE::-1]):
        light = [luminance(colour) for colour in side]
        assert light == sorted(light, reverse=page == LIGHT_PAGE)
    for level, colour in enumerate(colours):
        red, blue = int(colour[1:3], 16), int(colour[5:7], 16)
        assert level == MIDDLE or (blue > red) == (level < MIDDLE)


@pytest.mark.parametrize("colour", [*SURPRISAL_LIGHT, *SURPRISAL_DARK, *SIGNED_LIGHT, *SIGNED_DARK])
def test_text_is_readable_on_every_colour(colour: str) -> None:
    """Law: the contrast is at least 4.5 (WCAG)."""
    assert contrast(colour, text_colour(colour)) >= 4.5


def test_contrast() -> None:
    """Known values (WCAG): black on white 21, any colour on itself 1; #767676 is the lightest readable grey."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#2669a8", "#2669a8") == 1
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_levels_rise_with_the_number(one: float, other: float) -> None:
    """Law: monotone, never out of range, and exact for -1, 0 and 1."""
    low, high = sorted((one, other))
    assert 0 <= signed_level(low) <= signed_level(high) < len(SIGNED_LIGHT)
    assert signed_level(-1) == 0 and signed_level(0) == MIDDLE and signed_level(1) == 2 * MIDDLE


# -------------------------------------------------------------------------------------------------- units, and writing


def test_the_units_page_shows_the_inspection(model: TrainedModel) -> None:
    """Law: values and levels are the unit's, every unit can be chosen, and the saturation of the gates is given."""
    found = model.inspect(TEXT[:3000], units=5)
    html = units_page(found, model="run/best", source="lanterns.txt")
    page = Reader(html)
    assert page.texts == [TEXT[:3000]]
    for data, unit in zip(page.data["units"], found.units, strict=True):
        assert (data["name"], data["feature"]) == (unit.name, unit.feature)
        peak = np.abs(unit.values).max()
        np.testing.assert_allclose(np.array(data["values"]) * data["peak"] / SCALE, unit.values, atol=0.0051 * peak)
        np.testing.assert_array_equal(data["feature_values"], unit.feature_values)
    first = found.units[0].values / np.abs(found.units[0].values).max()
    levels = np.array([int(one.split()[0].removeprefix("a")) for one in page.classes])
    assert np.abs(levels - MIDDLE - first * MIDDLE).max() <= 0.53
    assert sum(a.get("type") == "radio" for _, a in page.elements) == 5
    for gate in found.gates:
        assert f"{gate.shut:.0%} below 0.1, {gate.open:.0%} above 0.9" in html.decode()


def test_a_units_page_without_units(model: TrainedModel) -> None:
    """Law: there is a page even if no unit follows anything; it warns of a short text."""
    page = units_page(Inspection(TEXT[:200], 200, False, (), ()), model="m", source="s")
    assert b"No hidden unit" in page and b"may be chance" in page and b"gates" not in page.split(b"<body>")[1]


class Pieces:
    def __init__(self, source: str, *pieces: str) -> None:
        self.source, self.pieces = source, pieces

    def __iter__(self) -> Any:
        return iter(self.pieces)


@given(st.lists(st.lists(st.text("ab", max_size=4), max_size=4), max_size=4), st.integers(0, 12))
def test_an_excerpt_is_the_beginning(texts: list[list[str]], most: int) -> None:
    """Law: the texts are passed on whole; their first characters are kept, each under its own source."""
    excerpt = Excerpt(most)
    read = [(text.source, list(text)) for text in excerpt.of(Pieces(str(n), *text) for n, text in enumerate(texts))]
    assert read == [(str(n), text) for n, text in enumerate(texts)]
    whole = "".join("".join(text) for text in texts)
    assert "".join(shown.text for shown in excerpt.texts) == whole[:most]
    assert (excerpt.characters, excerpt.kept) == (len(whole), min(len(whole), most))
    for shown in excerpt.texts:
        assert shown.text and "".join(texts[int(shown.source)]).startswith(shown.text)


def test_a_page_of_a_long_text(model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the page shows the beginning, and says how much of the text that is."""
    monkeypatch.setattr(surprisal_module, Excerpt.__name__, lambda: Excerpt(300))
    page = SurprisalPage(tmp_path / "x.html")
    for text in page.of([Text(LANTERNS)]):
        assert len("".join(text)) == len(TEXT)
    message = page.write(model)
    assert message == f"Wrote {tmp_path / 'x.html'} (the first 300 of {len(TEXT):,} characters)"
    html = (tmp_path / "x.html").read_bytes()
    assert Reader(html).texts == [TEXT[:300]] and f"the first 300 of {len(TEXT):,}".encode() in html


@pytest.mark.parametrize("kind", [SurprisalPage, InspectionFile])
def test_impossible_paths(kind: Any, tmp_path: Path) -> None:
    """Law: a missing folder or a wrong suffix is refused before anything is read."""
    with pytest.raises(StorageError, match="no folder"):
        kind(tmp_path / "missing" / "x.html")
    for name in ("x.txt", "x", "html", ".html"):
        with pytest.raises(SpecError, match=r"\.html"):
            kind(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
