"""Features have the values that a reader expects, for every character of any text."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.analysis import features
from charlm.analysis.features import FEATURES

EXAMPLES: list[tuple[Callable[[str], np.ndarray], str, str]] = [  # one digit for each character
    (features.position_in_line, "abc\nde\n\nf", "123012001"),
    (features.position_in_word, "a bcd'e 9f", "1012301001"),
    (features.position_in_sentence, "Ab. C? d!", "120120120"),
    (features.line_of_paragraph, "a\nb\n \t\nc\nd\n\ne\n", "01122200112001"),
    (features.indentation, "a\n  bc\n\td\ne", "00122201100"),
    (features.capital_letter, "aBÇd語", "01100"),
    (features.word_in_capitals, "KING A Bob ÉTÉ ", "111100000001110"),
    (features.name_of_speaker, "First Citizen:\nYou: x", "1" * 14 + "0" + "1111" + "00"),
    (features.name_of_speaker, "no name: x\n12: y", "0" * 16),
    (features.inside_quotation_marks, 'a "b" c', "0011000"),
    (features.inside_quotation_marks, "«ab» „c“ “d”", "111001100110"),
    (features.inside_quotation_marks, 'x "open\n\nnext', "0011111100000"),
    (features.inside_quotation_marks, 'end "open', "000011111"),
    (features.inside_brackets, "a(b[c]d)e)f(g", "0111111000011"),
    (features.vowel, "Йй", "00"),
    (features.vowel, "Ab éÿ αβ юб", "10011010010"),
    (features.space, "a b\tc\n", "010100"),
    (features.line_end, "a\n\nb", "0110"),
    (features.digit, "a1٣b", "0110"),
    (features.punctuation, "a, b!-—«c", "010011110"),
]


@pytest.mark.parametrize(("feature", "text", "digits"), EXAMPLES, ids=lambda value: getattr(value, "__name__", None))
def test_examples(feature: Callable[[str], np.ndarray], text: str, digits: str) -> None:
    """Each feature on a text that a reader can check."""
    assert "".join(f"{number:g}" for number in feature(text)) == digits


def test_every_feature_has_an_example() -> None:
    """Law: no feature is untested."""
    assert {feature for feature, _, _ in EXAMPLES} == set(FEATURES.values())


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
@given(text=st.text(st.sampled_from("aB1 \n\t\"“”«»()[]:.'語\u0301\u2028\x07😀") | st.characters(), max_size=80))
def test_any_text(feature: Callable[[str], np.ndarray], text: str) -> None:
    """Law: one finite number of at least 0 for each character of any text, even the empty one."""
    numbers = feature(text)
    assert numbers.shape == (len(text),) and numbers.dtype == np.float64
    assert np.isfinite(numbers).all() and (numbers >= 0).all()


LOOKING_AHEAD = {features.name_of_speaker, features.word_in_capitals}
CAUSAL = {name: feature for name, feature in FEATURES.items() if feature not in LOOKING_AHEAD}


@pytest.mark.parametrize("feature", CAUSAL.values(), ids=CAUSAL)
@given(text=st.text("aB1 \n\t\"“(«»)]:.'", max_size=60), more=st.text("aB1 \n\t\"“(«»)]:.'", max_size=10))
def test_features_are_causal(feature: Callable[[str], np.ndarray], text: str, more: str) -> None:
    """Law: later characters change nothing, except for the features that mark a whole word or name."""
    np.testing.assert_array_equal(feature(text + more)[: len(text)], feature(text))


@pytest.mark.parametrize("text", ["\n" * 20_000, " " * 20_000, "a" * 20_000, "a: " * 7_000, '"' * 20_000])
def test_no_feature_is_slow(text: str) -> None:
    """Law: every feature takes linear time on any text: no pattern backtracks."""
    start = time.process_time()
    for feature in FEATURES.values():
        feature(text)
    assert time.process_time() - start < 3
