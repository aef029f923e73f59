"""The pages in a real browser: by day and by night, on a desk and on a telephone, with mouse, finger and keys.

What it looked like is left as pictures in the folder of each test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DESKTOP, PHONE, Browser
from runs import LANTERNS, trained_run

from charlm.colours import signed_level
from charlm.pages.excerpt import Passage
from charlm.pages.surprisal import surprisal_page
from charlm.pages.units import units_page
from charlm.trained import load

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]

# Everything that could go wrong in a page: elements, controls, both directions, marks, joined emoji, a long line.
ODD = (
    "<script>alert(1)</script> & \"'\n\ttab\x07\x1b\x0b\n\u202eabc\u202c \u200b \u2028 e\u0301 שלום مرحبا\n"
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 語\n" + "long" * 200 + "\n\n\nend"
)
TEXT = LANTERNS.read_text(encoding="utf-8")[:1500] + ODD
LOOKS = [(DESKTOP, False), (DESKTOP, True), (PHONE, False), (PHONE, True)]
MARK = "document.querySelectorAll('.text b')[{}]"
PANEL = "document.getElementById('panel').innerText"

Pages = dict[str, Path]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Both pages of the same text."""
    folder, model = tmp_path_factory.mktemp("pages"), load(trained_run())
    html = {
        "surprisal": surprisal_page(model, [Passage("<b>lanterns.txt", TEXT), Passage("again", ODD)], note="a part"),
        "units": units_page(model.inspect(TEXT), model="lanterns/best.safetensors", source="lanterns.txt"),
        "empty": surprisal_page(model, []),
    }
    for name, page in html.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: folder / f"{name}.html" for name in html}


def expected_panel(place: int) -> tuple[float, list[float]]:
    """The bits of a character of TEXT, and the probabilities of its five likeliest in per cent."""
    model = load(trained_run())
    row = np.concatenate(list(model.predictions(TEXT)))[place]
    bits = model.surprisal(TEXT)[place] / np.log(2)
    return float(bits), (100 * np.sort(np.exp(row))[::-1][:5]).tolist()


@pytest.mark.parametrize("name", ["surprisal", "units", "empty"])
@pytest.mark.parametrize(("size", "dark"), LOOKS, ids=lambda value: str(value))
def test_it_opens(name: str, size: tuple[int, int], dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: nothing in the console, nothing fetched, nothing wider than the screen; by night it is dark."""
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
def test_the_text_is_the_text(name: str, browser: Browser, pages: Pages) -> None:
    """Law: what the browser took for text is the text; selected and copied, too, symbols are no part of it."""
    browser.open(pages[name])
    assert browser.evaluate("document.querySelector('.text').textContent") == TEXT
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    select = "getSelection().selectAllChildren(document.querySelector('.text')), getSelection().toString()"
    assert browser.evaluate(f"({select})").startswith(TEXT[:1500])


def test_pointing_shows_the_five_likeliest(browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: under the mouse, the bits of that character and five alternatives with their probabilities, in order."""
    browser.open(pages["surprisal"])
    for place in (0, 7, 300):
        browser.point_at(MARK.format(place))
        bits, shares = expected_panel(place)
        shown = browser.evaluate(PANEL)
        assert f"{bits:.2f} bits" in shown
        told = browser.evaluate("[...document.querySelectorAll('#panel li data')].map(e => parseFloat(e.innerText))")
        assert told == pytest.approx(shares, abs=0.51) and len(told) == 5
        widths = browser.evaluate("[...document.querySelectorAll('#panel li span')].map(e => e.offsetWidth)")
        assert widths == sorted(widths, reverse=True) and widths[0] > 1
        assert browser.evaluate("document.querySelectorAll('.here').length") == 1
    browser.screenshot(tmp_path / "pointing.png")
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_finger_does_the_same(dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: a tap shows it, where it can be seen: at the bottom of the screen, and the character above it."""
    browser.open(pages["surprisal"], PHONE, dark)
    browser.tap(MARK.format(300))
    assert f"{expected_panel(300)[0]:.2f} bits" in browser.evaluate(PANEL)
    browser.screenshot(tmp_path / f"tapped-{'dark' if dark else 'light'}.png")
    top, bottom = browser.evaluate("(r => [r.top, r.bottom])(document.getElementById('panel').getBoundingClientRect())")
    assert 0 < top < bottom <= PHONE[1] + 1
    assert browser.evaluate(f"{MARK.format(300)}.getBoundingClientRect().bottom") < top
    assert browser.complaints() == []


def test_keys_walk_through_the_text(browser: Browser, pages: Pages) -> None:
    """Law: from the text's beginning, a character at a time and back; a pinned one stays until Escape."""
    browser.open(pages["surprisal"])
    here = "[...document.querySelectorAll('.text b')].indexOf(document.querySelector('.here'))"
    browser.evaluate("document.querySelector('.text').focus()")
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        browser.press(key)
        assert browser.evaluate(here) == place
    assert f"{expected_panel(1)[0]:.2f} bits" in browser.evaluate(PANEL)
    browser.point_at(MARK.format(40))
    assert browser.evaluate(here) == 1
    browser.press("Escape")
    browser.point_at(MARK.format(41))
    assert browser.evaluate(here) == 41
    assert browser.complaints() == []


def test_a_character_it_never_saw(browser: Browser, pages: Pages) -> None:
    """Law: it is marked in the text, and the panel says so."""
    browser.open(pages["surprisal"])
    place = TEXT.index("語")
    browser.point_at(MARK.format(place))
    assert "never saw" in browser.evaluate(PANEL)
    line = f"getComputedStyle({MARK.format(place)}).textDecorationLine"
    assert browser.evaluate(line) == "underline"


@pytest.mark.parametrize(("size", "dark"), LOOKS, ids=lambda value: str(value))
def test_a_unit_is_chosen(size: tuple[int, int], dark: bool, browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """Law: another unit gives the text its colours, the panel its value, and the line above its correlations."""
    found = load(trained_run()).inspect(TEXT)
    browser.open(pages["units"], size, dark)
    act: Callable[[str], None] = browser.tap if size == PHONE else browser.point_at
    for place in (0, 4, 7):
        unit = found.units[place]
        label = f"document.querySelectorAll('.choice label')[{place}]"
        if size == PHONE:
            browser.tap(label)
        else:
            browser.evaluate(f"{label}.click()")
        act(MARK.format(60))
        assert f"{unit.name} is {unit.values[60]:.2f}"[:-1].replace("-", "−") in browser.evaluate(PANEL)
        assert f"{unit.feature} is {unit.followed[60]:.0f}" in browser.evaluate(PANEL)
        assert f"{unit.name} follows {unit.feature}" in browser.evaluate("document.getElementById('follows').innerText")
        colours = "[...document.querySelectorAll('.text b')].map(b => Number(b.className.match(/\\ba(\\d+)/)[1]))"
        values = browser.evaluate(f"data.units[{place}].values")
        assert browser.evaluate(colours) == [signed_level(value / 100) for value in values]
        browser.screenshot(tmp_path / f"unit-{place}.png")
    assert browser.evaluate(f"{MARK.format(60)}.matches('.here')")
    assert browser.complaints() == []


def test_the_browser_tells_of_faults(browser: Browser, tmp_path: Path) -> None:
    """Law: the tests above can fail: an error, a warning and a request are seen."""
    for fault in (
        "<script>nothing.here</script>",
        "<script>console.warn('x')</script>",
        "<img src='http://127.0.0.1:9/x'>",
    ):
        (tmp_path / "faulty.html").write_text(f"<!DOCTYPE html><title>x</title>{fault}", encoding="utf-8")
        browser.open(tmp_path / "faulty.html")
        assert browser.complaints(), fault
