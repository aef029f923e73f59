"""Does `charlm score` find the bad lines of a text? Plants nonsense into lines that a model was not trained on.

    python scripts/study_triage.py TEXT [--minutes 3] [--seed 0]
    python scripts/study_triage.py TEXT --run RUN

Trains a model on the text first, or uses a run that was trained on another text of the same kind. Every line of 40
characters or more that it was not trained on is scored as it is, and once for every kind of nonsense made of it: its
characters shuffled, another language (without its accents, which would be too easy), base64, and OCR noise, where 5 %
of the characters are replaced by ones that look alike. The area under the ROC curve (AUC) is the probability that a bad
line is ranked above a good one: 0.5 is guessing, 1 is never wrong. It is computed exactly, over all pairs, for both
measures of `charlm score --per line --reset line --by`.
"""

from __future__ import annotations

import argparse
import base64
import random
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import charlm

LEAST = 40  # characters of a line
NOISE = 0.05  # share of a line's characters that OCR misreads
ALIKE = """
ao bh6 ceo dcl ec ft gq9 hb il1 ji klc l1i mn nu o0c pn qg rn s5 tf un vy wv yv z2
B8 CG DO EF G6 Il1 O0Q S5 TI Z2 ., ,. ;: :; 0O 1l 5S 8B
"""
LOOK_ALIKE = {entry[0]: entry[1:] for entry in ALIKE.split()}  # a character, and those that may replace it
FOREIGN = """
Der alte Mann ging jeden Morgen zum Hafen und zählte die Boote, die in der Nacht zurückgekommen waren.
Wenn der Regen aufhört, öffnen wir die Fenster und lassen die kühle Luft in alle Zimmer.
Niemand wusste, woher der Brief kam, aber jeder hatte eine Vermutung und wollte sie erzählen.
La rivière était haute ce printemps-là, et les enfants jetaient des pierres depuis le vieux pont.
Je ne sais pas pourquoi elle a vendu la maison, mais le jardin lui manque tous les jours.
On entendait la cloche du village chaque fois que le vent venait de la montagne.
Mi abuela guardaba las llaves en una caja de madera que nadie más podía abrir.
El tren llegó con dos horas de retraso, y la estación ya estaba casi vacía.
Cuando terminó la fiesta, los músicos siguieron tocando en la calle hasta el amanecer.
Il mercato apre presto, e i pescatori portano tutto quello che il mare ha lasciato loro.
Non ho mai visto una nebbia così fitta come quella che copriva la valle ieri sera.
De schipper wachtte tot het water steeg en voer toen langzaam de smalle haven binnen.
Vi gick genom skogen tills vi hörde havet, och sedan sprang barnen före oss andra.
Stara kobieta siedziała przy oknie i liczyła ptaki, które wracały nad jezioro przed zimą.
"""

Scores = dict[str, NDArray[np.float64]]


def shuffled(line: str, rng: random.Random) -> str:
    """Its characters in another order."""
    return "".join(rng.sample(line, len(line)))


def foreign(line: str, rng: random.Random) -> str:
    """As many characters of another language, from the beginning of a word, in plain letters."""
    sentences = FOREIGN.strip().split("\n")
    words = " ".join(rng.sample(sentences, 1) + rng.choices(sentences, k=1 + len(line) // 60)).split(" ")
    text = " ".join(words[rng.randrange(8) :])
    plain = "".join(c for c in unicodedata.normalize("NFD", text.replace("ł", "l")) if c.isascii())
    return plain[: len(line)].rstrip() or plain


def encoded(line: str, rng: random.Random) -> str:
    """As many characters of base64."""
    return base64.b64encode(rng.randbytes(len(line))).decode()[: len(line)]


def misread(line: str, rng: random.Random) -> str:
    """The line with 5 % of its characters, at least one, replaced by ones that look alike."""
    places = [place for place, character in enumerate(line) if character in LOOK_ALIKE]
    characters = list(line)
    for place in rng.sample(places, min(len(places), max(1, round(NOISE * len(line))))):
        characters[place] = rng.choice(LOOK_ALIKE[line[place]])
    return "".join(characters)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "characters shuffled": shuffled,
    "another language": foreign,
    "base64": encoded,
    "5 % OCR noise": misread,
}


def auc(bad: NDArray[np.float64], good: NDArray[np.float64]) -> float:
    """The share of all pairs in which the bad one is above the good one, ties half: Mann and Whitney's U / (n m)."""
    ordered = np.sort(good)
    below, up_to = np.searchsorted(ordered, bad, "left"), np.searchsorted(ordered, bad, "right")
    return float((below + up_to).sum() / 2 / (len(bad) * len(good)))


def long_lines(text: str) -> list[str]:
    """The lines of 40 characters and more."""
    return [line for line in text.split("\n") if len(line) >= LEAST]


def scores(model: charlm.TrainedModel, lines: Iterable[str]) -> Scores:
    """By each measure of `charlm score --by`, bits per character of every line, each read from its own beginning."""
    found = [
        (entry.score.bits_per_char, entry.worst.bits_per_char)
        for entry in charlm.entries(model, [_Lines(lines)], "line", reset="line")
        if entry.worst
    ]
    mean, worst = np.array(found).T
    return {"mean": mean, "worst": worst}


def table(model: charlm.TrainedModel, lines: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """For every kind of nonsense, and all of them together, the AUC by each measure."""
    good = scores(model, lines)
    bad = {
        kind: scores(model, [spoil(line, random.Random(f"{seed} {kind} {n}")) for n, line in enumerate(lines)])
        for kind, spoil in KINDS.items()
    }
    bad["all together"] = {by: np.concatenate([bad[kind][by] for kind in KINDS]) for by in good}
    return {kind: {by: auc(found[by], good[by]) for by in good} for kind, found in bad.items()}


class _Lines:
    """Lines as one of the texts that `entries` takes."""

    source = "lines"

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        return (line + "\n" for line in self._lines)


def trained_on(path: str, minutes: float, seed: int, workers: int | None) -> tuple[charlm.TrainedModel, list[str]]:
    """A model of a text's first part, and the long lines of its validation part."""
    corpus = charlm.read_corpus(path)
    spec = charlm.TrainSpec(minutes=minutes, rng_seed=seed, workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        run = charlm.new_run(corpus, Path(folder) / "run", spec)
        for _ in charlm.train(run, corpus):
            pass
        model, figures = charlm.load(run.path), charlm.summary(run)
    print(f"{figures['steps']:,} updates in {figures['seconds']:.0f} s")
    return model, long_lines(corpus.vocabulary.decode(corpus.split(spec)[1][:]))


def main() -> None:
    """Train or load, plant, score, and print a row for every kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="to train on and, its last tenth, to plant nonsense into; with --run, all of it")
    parser.add_argument("--run", help="a run or a checkpoint that was not trained on the text, instead of a training")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the nonsense")
    parser.add_argument("--workers", type=int, help="processes of the training; by default, chosen automatically")
    options = parser.parse_args()
    if options.run:
        text = "".join(piece for source in charlm.read_texts([options.text]) for piece in source)
        model, lines = charlm.load(options.run), long_lines(text)
    else:
        model, lines = trained_on(options.text, options.minutes, options.seed, options.workers)
    bits = model.score("\n".join(lines)).bits_per_char
    print(f"{len(lines):,} lines of {options.text} that the model was not trained on, of")
    print(f"{sum(map(len, lines)) / len(lines):.0f} characters each: {bits:.2f} bits per character\n")
    print("| nonsense | AUC by mean | AUC by worst |\n| --- | --- | --- |")
    for kind, by in table(model, lines, options.seed).items():
        print(f"| {kind} | {by['mean']:.3f} | {by['worst']:.3f} |")


if __name__ == "__main__":
    main()
