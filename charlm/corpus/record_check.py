"""Is a text a list of records: many short lines, each a text of its own, such as names, words or log entries?

In prose, verse and source code, how a line ends tells how the next one begins: a comma is followed by a small letter,
an empty line by a name or a heading. In a list it tells nothing. So the mutual information of the two is measured,
given how the line itself begins, because a sorted list has its beginnings in order:

    I = mean over lines of ln( p(end, next | beginning) / (p(end | beginning) p(next | beginning)) )

and compared with that of the same lines after the ends were exchanged at random between lines with the same beginning.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from charlm.arrays import Ids, UnsignedIds
from charlm.corpus.validation import line_edges
from charlm.text.vocabulary import Vocabulary

LEAST_LINES = 100  # distinct ones
LONGEST_MEAN = 160  # characters of a line; beyond, lines are paragraphs
MOST_EMPTY = 0.01  # share of lines; empty lines separate the parts of a text
MOST_INDENTED = 0.05  # share of lines that begin with a space, which continue others
LOOKED_AT = 2**18  # characters at the beginning, and as many at the end
SHUFFLES = 20
CLEAR = 6.0  # standard deviations of the shuffled lines
LEAST_INFORMATION = 0.002  # nats per line


def is_list_of_records(ids: UnsignedIds, vocabulary: Vocabulary) -> bool:
    """Whether the lines of a text, ids (N,), are short and do not continue each other."""
    newline = vocabulary.characters.find("\n")
    if newline < 0:
        return False
    parts = [ids] if len(ids) <= 2 * LOOKED_AT else [ids[:LOOKED_AT], ids[-LOOKED_AT:]]
    edges = [line_edges(part, newline) for part in parts]
    if any(len(starts) < LEAST_LINES for starts, _ in edges) or _are_few(parts[0], *edges[0]):
        return False
    lengths = np.concatenate([ends - starts for starts, ends in edges])
    firsts = [part[starts] for part, (starts, _) in zip(parts, edges, strict=True)]
    spaces = [place for place, character in enumerate(vocabulary.characters) if character in " \t"]
    if (
        lengths.mean() > LONGEST_MEAN
        or (lengths == 1).mean() > MOST_EMPTY
        or np.isin(np.concatenate(firsts), spaces).mean() > MOST_INDENTED
    ):
        return False
    kind_of = _kinds(vocabulary)
    lasts = [kind_of[part[np.maximum(ends - 2, starts)]] for part, (starts, ends) in zip(parts, edges, strict=True)]
    beginning = np.concatenate([first[:-1] for first in firsts]).astype(np.intp)
    following = np.concatenate([first[1:] for first in firsts]).astype(np.intp)
    return not _tells(beginning, np.concatenate([last[:-1] for last in lasts]), following)


def _are_few(ids: Ids, starts: Ids, ends: Ids) -> bool:
    """Whether there are fewer than LEAST_LINES distinct lines."""
    distinct = set()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        distinct.add(ids[start:end].tobytes())
        if len(distinct) >= LEAST_LINES:
            return False
    return True


def _kinds(vocabulary: Vocabulary) -> Ids:
    """A number for each character by its Unicode category; the marks . , ; : ! ? - have one each."""
    names = [c if c in ".,;:!?-" else unicodedata.category(c)[0] for c in vocabulary.characters]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _tells(beginning: Ids, end: Ids, following: Ids) -> bool:
    """Whether the ends of lines tell how the next lines begin, beyond chance. All (K,)."""
    found = _information(beginning, end, following)
    rng = np.random.default_rng(0)
    by_beginning = np.argsort(beginning, kind="stable")
    chance = []
    for _ in range(SHUFFLES):
        mixed = np.empty_like(end)
        at_random = np.lexsort((rng.random(len(end)), beginning))  # random within lines of the same beginning
        mixed[by_beginning] = end[at_random]
        chance.append(_information(beginning, mixed, following))
    above = found - float(np.mean(chance))
    return above > LEAST_INFORMATION and above > CLEAR * float(np.std(chance))


def _information(given: Ids, one: Ids, other: Ids) -> float:
    """The mutual information of two sequences given a third, in nats, from their counts."""
    entropies = [_entropy(given, one), _entropy(given, other), -_entropy(given, one, other), -_entropy(given)]
    return sum(entropies)


def _entropy(*sequences: Ids) -> float:
    """Of sequences (K,) together, in nats."""
    joint = np.zeros(len(sequences[0]), np.int64)
    for sequence in sequences:
        joint = joint * (int(sequence.max()) + 1) + sequence
    p = np.unique(joint, return_counts=True)[1] / len(joint)
    return -float(np.sum(p * np.log(p)))
