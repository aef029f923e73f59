"""The pages in a real browser: light and dark, on a desktop and on a telephone, with mouse, touch and keys.

Each test leaves screenshots in its temporary folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DESKTOP, PHONE, Browser
from runs import LANTERNS, trained_run

from charlm.pages.excerpt import ShownText
from charlm.pages.surprisal import surprisal_page
from charlm.pages.units import SCALE, units_page
from charlm.plotting.colours import signed_level
from charlm.trained_model import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]

# What could break a page: markup, control characters, right-to-left text, combining marks, joined emoji, a long line.
ODD = (
    "<script>alert(1)</script> & \"'\n\ttab\x07\x1b\x0b\n\u202eabc\u202c \u200b \u2028 e\u0301 שלום مرحبا\n"
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 語\n" + "long" * 200 + "\n\n\nend"
)
TEXT = LANTERNS.read_text(encoding="utf-8")[:1500] + ODD
LOOKS = [(DESKTOP, False), (DESKTOP, True), (PHONE, False), (PHONE, True)]
CHARACTER = "document.querySelectorAll('.text b')[{}]"
PANEL = "document.getElementById('panel').innerText"

Pages = dict[str, Path]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Both pages of the same text, and a page of no text."""
    folder, model = tmp_path_factory.mktemp("pages"), load(trained_run())
    html = {
        "surprisal": surprisal_page(model, [ShownText("<b>lanterns.txt", TEXT), ShownText("again", ODD)], note="x"),
        "units": units_page(model.inspect(TEXT), model="lanterns/best.safetensors", source="lanterns.txt"),
        "empty": surprisal_page(model, []),
    }
    for name, page in html.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: folder / f"{name}.html" for name in html}


def expected_panel(index: int) -> tuple[float, list[float]]:
    """The bits of a character of TEXT, and the probabilities of the five likeliest in per cent."""
    model = load(trained_run())
    row = np.concatenate(list(model.predictions(TEXT)))[index]
    bits = model.surprisal(TEXT)[index] / np.log(2)
    return float(bits), (100 * np.sort(np.exp(row))[::-1][:5]).tolist()


@pytest.mark.parametrize("name", ["surprisal", "units", "empty"])
@pytest.mark.parametrize(("size", "dark"), LOOKS, ids=lambda value: str(value))
def test_it_opens(name: str, size: tuple[int, int], dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: no console message, no request, nothing wider than the screen, no tiny text; dark on a dark screen."""
    browser.open(pages[name], size, dark)
    browser.screenshot(tmp_path / f"{name}-{size[0]}-{'dark' if dark else 'light'}.png")
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") == size[0]
    red = browser.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert (red < 60) == dark
    small = (
        "[...document.querySelectorAll('body *')].filter(e => e.innerText && parseFloat(getComputedStyle(e).fontSize)"
    )
    assert browser.evaluate(f"{small} < 10).filter(e => !e.matches('.x')).length") == 0


@pytest.mark.parametrize("name", ["surprisal", "units"])
def test_the_text_is_unchanged(name: str, browser: Browser, pages: Pages) -> None:
    """Law: the browser parses exactly the text, and symbols are not part of a selection."""
    browser.open(pages[name])
    assert browser.evaluate("document.querySelector('.text').textContent") == TEXT
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    select = "getSelection().selectAllChildren(document.querySelector('.text')), getSelection().toString()"
    assert browser.evaluate(f"({select})").startswith(TEXT[:1500])


def test_pointing_shows_the_alternatives(browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: the panel shows the bits of the character under the mouse and the five likeliest, in order."""
    browser.open(pages["surprisal"])
    for index in (0, 7, 300):
        browser.point_at(CHARACTER.format(index))
        bits, probabilities = expected_panel(index)
        assert f"{bits:.2f} bits" in browser.evaluate(PANEL)
        shown = browser.evaluate("[...document.querySelectorAll('#panel li data')].map(e => parseFloat(e.innerText))")
        assert shown == pytest.approx(probabilities, abs=0.51) and len(shown) == 5
        widths = browser.evaluate("[...document.querySelectorAll('#panel li span')].map(e => e.offsetWidth)")
        assert widths == sorted(widths, reverse=True) and widths[0] > 1
        assert browser.evaluate("document.querySelectorAll('.current').length") == 1
    browser.screenshot(tmp_path / "pointing.png")
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_tap_does_the_same(dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: the panel is at the bottom of the screen and does not cover the tapped character."""
    browser.open(pages["surprisal"], PHONE, dark)
    browser.tap(CHARACTER.format(300))
    assert f"{expected_panel(300)[0]:.2f} bits" in browser.evaluate(PANEL)
    browser.screenshot(tmp_path / f"tapped-{'dark' if dark else 'light'}.png")
    top, bottom = browser.evaluate("(r => [r.top, r.bottom])(document.getElementById('panel').getBoundingClientRect())")
    assert 0 < top < bottom <= PHONE[1] + 1
    assert browser.evaluate(f"{CHARACTER.format(300)}.getBoundingClientRect().bottom") < top
    assert browser.complaints() == []


def test_keys_move_through_the_text(browser: Browser, pages: Pages) -> None:
    """Law: from the first character, one at a time and back; the panel then ignores the mouse until Escape."""
    browser.open(pages["surprisal"])
    current = "[...document.querySelectorAll('.text b')].indexOf(document.querySelector('.current'))"
    browser.evaluate("document.querySelector('.text').focus()")
    for key, index in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        browser.press(key)
        assert browser.evaluate(current) == index
    assert f"{expected_panel(1)[0]:.2f} bits" in browser.evaluate(PANEL)
    browser.point_at(CHARACTER.format(40))
    assert browser.evaluate(current) == 1
    browser.press("Escape")
    browser.point_at(CHARACTER.format(41))
    assert browser.evaluate(current) == 41
    assert browser.complaints() == []


def test_an_unknown_character(browser: Browser, pages: Pages) -> None:
    """Law: it is underlined in the text, and the panel says that it is unknown."""
    browser.open(pages["surprisal"])
    index = TEXT.index("語")
    browser.point_at(CHARACTER.format(index))
    assert ", an unknown character" in browser.evaluate(PANEL)
    line = f"getComputedStyle({CHARACTER.format(index)}).textDecorationLine"
    assert browser.evaluate(line) == "underline"


@pytest.mark.parametrize(("size", "dark"), LOOKS, ids=lambda value: str(value))
def test_choosing_a_unit(size: tuple[int, int], dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: the text gets the unit's colours, the panel its value, and the line above the text its features."""
    found = load(trained_run()).inspect(TEXT)
    browser.open(pages["units"], size, dark)
    act: Callable[[str], None] = browser.tap if size == PHONE else browser.point_at
    for index in (0, 4, 7):
        unit = found.units[index]
        label = f"document.querySelectorAll('.choice label')[{index}]"
        if size == PHONE:
            browser.tap(label)
        else:
            browser.evaluate(f"{label}.click()")
        act(CHARACTER.format(60))
        assert f"{unit.name} is {unit.values[60]:.2f}"[:-1].replace("-", "−") in browser.evaluate(PANEL)
        assert f"{unit.feature} is {unit.feature_values[60]:.0f}" in browser.evaluate(PANEL)
        features = browser.evaluate("document.getElementById('features').innerText")
        assert features.startswith(f"{unit.name} follows {unit.feature} (")
        colours = "[...document.querySelectorAll('.text b')].map(b => Number(b.className.match(/\\ba(\\d+)/)[1]))"
        values = browser.evaluate(f"data.units[{index}].values")
        assert browser.evaluate(colours) == [signed_level(value / SCALE) for value in values]
        browser.screenshot(tmp_path / f"unit-{index}.png")
    assert browser.evaluate(f"{CHARACTER.format(60)}.matches('.current')")
    assert browser.complaints() == []


def test_faults_are_noticed(browser: Browser, tmp_path: Path) -> None:
    """Law: an error, a warning or a request would fail the tests above."""
    for fault in (
        "<script>nothing.here</script>",
        "<script>console.warn('x')</script>",
        "<img src='http://127.0.0.1:9/x'>",
    ):
        (tmp_path / "faulty.html").write_text(f"<!DOCTYPE html><title>x</title>{fault}", encoding="utf-8")
        browser.open(tmp_path / "faulty.html")
        assert browser.complaints(), fault
