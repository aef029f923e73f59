"""Is anything lost when training is killed? Kill a real `charlm train` again and again, and check its files.

    python scripts/study_kills.py [--kills 200] [--seed 0] [--steps 400]

Trains small networks of several kinds, with an evaluation and a save at every second update and a line of metrics at
every one, and sends SIGKILL at random moments: while the run directory is made, while the command starts, at any time
later, and as soon as half a checkpoint is found on the disk. After every kill each file is read and checked; then the
run is resumed. At its end it is compared with an uninterrupted run of the same seed: parameters, optimizer memory,
state and metrics must be the same to the byte, apart from the clock. Exits with 1 if anything is wrong.

The seed fixes the networks and the kinds of kills; the exact moment of a kill depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm import CharlmError, Corpus, Run, TrainSpec, is_run, new_run, read_corpus
from charlm.runs.checkpoint import Checkpoint, load_checkpoint

TEXT = Path(__file__).resolve().parent.parent / "corpora" / "lanterns.txt"
CHARACTERS = 1500  # of it: evaluations are short, so that most of the time goes into saving
WALL_CLOCK = {"seconds", "evaluation_seconds", "chars_per_second", "report_seconds"}
START = 0.3  # seconds, about, until a command trains
KINDS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # fields of ModelSpec and of TrainSpec
    ({}, {}),
    ({"cell": "lstm"}, {"optimizer": "adam", "dropout": 0.3, "keep": 2}),
    ({"cell": "rnn", "activation": "relu", "layers": 2}, {"optimizer": "rmsprop", "schedule": "steps"}),
    ({"reset": "after", "embedding": 48, "tied": True}, {"optimizer": "adamw", "schedule": "constant"}),
]
MOMENTS = {"making the run": 1, "starting": 2, "any time": 4, "half a checkpoint seen": 3}  # and how often


@dataclass
class Findings:
    """Counts, and faults, one sentence each."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def wrong(self, what: str, detail: str) -> None:
        """Note a fault."""
        self.counts[what] += 1
        self.faults.append(f"{what}: {detail}")


def command(*arguments: object) -> subprocess.Popen[bytes]:
    """Start `charlm train` with one thread for the matrix arithmetic."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "charlm", "train", *map(str, arguments), "--quiet"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen[bytes], seconds: float, run: Path | None = None) -> bool:
    """Kill a process after some time, and then, given a run, as soon as half a checkpoint is seen in it.

    Returns False if it ended by itself before.
    """
    time.sleep(seconds)
    while run is not None and process.poll() is None and not any(run.glob(".*.safetensors.*.tmp")):
        time.sleep(1e-4)
    process.kill()
    return process.wait() < 0


def kill_a_creation(folder: Path, text: Path, rng: random.Random, found: Findings) -> None:
    """Kill the command that makes a run; then the same command, or the resumed run, must succeed."""
    path = folder / "made"
    arguments = (text, "--hidden", 8, "--steps", 2, "--out", path)
    if kill_after(command(*arguments), rng.uniform(0, 1.5 * START)):
        found.counts["kills"] += 1
        found.counts["kills while the run is made"] += 1
    code = command("--resume", path).wait() if is_run(path) else command(*arguments).wait()
    if code:
        found.wrong("runs that could not go on", f"exit code {code} after a kill of its creation")
    check(path, 2, found)
    found.counts["temporary files left"] += len(list(path.glob(".*.tmp")))
    shutil.rmtree(path, ignore_errors=True)


def check(path: Path, steps: int, found: Findings) -> int:
    """Read all files of a run; the step of its last checkpoint."""
    last = 0
    for file in path.glob("*.safetensors"):
        try:
            step = load_checkpoint(file).step
        except CharlmError as error:
            found.wrong("corrupt files", str(error))
        else:
            last = step if file.name == "last.safetensors" else last
    try:
        run = Run.open(path)
        records = run.metrics()
    except CharlmError as error:
        found.wrong("corrupt files", str(error))
        return last
    for split in ("train", "validation") if steps > 2 else ():
        seen = [record["step"] for record in records if record["split"] == split]
        expected = list(range(1, steps + 1)) if split == "train" else list(range(2, steps + 1, 2))
        if len(seen) > len(set(seen)):
            found.wrong("duplicates", f"{split} of {path.name}")
        if sorted(set(seen)) != expected[: len(set(seen))] or (seen[-1:] or [0])[0] < last:
            found.wrong("gaps", f"{split} of {path.name} at step {last}: ... {seen[-5:]}")
    return last


def step_of(path: Path) -> int:
    """The step of a checkpoint; 0 if it cannot be read."""
    try:
        return load_checkpoint(path).step
    except CharlmError:
        return 0


def bits(checkpoint: Checkpoint) -> dict[str, Any]:
    """All of a checkpoint that must repeat."""
    arrays = {f"params/{name}": array for name, array in checkpoint.params.items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.memory.items()}
    arrays |= {f"state/{layer}": array for layer, array in enumerate(checkpoint.state)}
    found: dict[str, Any] = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
    return found | without_clock(checkpoint.progress)


def without_clock(record: Any) -> dict[str, Any]:
    """A record without the values that depend on the clock."""
    return {name: value for name, value in record.items() if name not in WALL_CLOCK}


def contents(path: Path) -> dict[str, Any]:
    """All of a run that must repeat, by file."""
    checkpoints = {file.name: bits(load_checkpoint(file)) for file in path.glob("*.safetensors")}
    return checkpoints | {"metrics.jsonl": [without_clock(record) for record in Run.open(path).metrics()]}


def study_a_run(folder: Path, corpus: Corpus, number: int, kills: int, steps: int, found: Findings) -> None:
    """Kill and resume a run until its budget is used up, or `kills` times; then compare it."""
    rng = random.Random(number)
    network, training = KINDS[number % len(KINDS)]
    spec = TrainSpec(
        batch=4, window=10, steps=steps, evaluations=steps // 2, reports=steps, rng_seed=number, **training
    )
    run = new_run(corpus, folder / f"run-{number}", spec, **{"hidden": 48} | network).path
    straight = shutil.copytree(run, folder / f"straight-{number}")
    enough, before = found.counts["kills"] + kills, 0
    while found.counts["kills"] < enough:
        (moment,) = rng.choices(list(MOMENTS), list(MOMENTS.values()))
        if moment == "making the run":
            kill_a_creation(folder, folder / "text.txt", rng, found)
            continue
        seconds = rng.uniform(0, START) if moment == "starting" else rng.uniform(START, 5 * START)
        if not kill_after(command("--resume", run), seconds, run if moment == "half a checkpoint seen" else None):
            break
        found.counts["kills"] += 1
        found.counts["kills that left half a checkpoint"] += any(run.glob(".*.safetensors.*.tmp"))
        now = check(run, steps, found)
        found.counts["kills between the files of one save"] += step_of(run / "best.safetensors") > now
        found.counts["kills before the first save after a start"] += now == before
        if now < before:
            found.wrong("steps lost", f"{run.name} fell from {before} to {now}")
        before = now
    for path in (run, straight):
        if code := command("--resume", path).wait():
            found.wrong("runs that could not go on", f"{path.name}: exit code {code}")
            return
    check(run, steps, found)
    found.counts["temporary files left"] += len(list(run.glob(".*.tmp")))
    found.counts["runs compared"] += 1
    one, other = contents(run), contents(straight)
    differing = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    if differing:
        found.wrong("runs that differ", f"{run.name} in {', '.join(sorted(differing))}")


ROWS = (
    "kills",
    "kills while the run is made",
    "kills before the first save after a start",
    "kills that left half a checkpoint",
    "kills between the files of one save",
    "runs compared",
    "runs that differ",
    "runs that could not go on",
    "corrupt files",
    "steps lost",
    "gaps",
    "duplicates",
    "temporary files left",
)


def main() -> None:
    """Kill, check, resume, compare; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400, help="updates of each run")
    options = parser.parse_args()
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="charlm-kills-") as temporary:
        folder = Path(temporary)
        text = folder / "text.txt"
        text.write_text(TEXT.read_text(encoding="utf-8")[:CHARACTERS], encoding="utf-8")
        corpus = read_corpus(text)
        for number in range(options.seed, sys.maxsize):
            left = options.kills - found.counts["kills"]
            if left <= 0:
                break
            study_a_run(folder, corpus, number, left, options.steps, found)
    print("| | |\n| --- | --- |")
    for row in ROWS:
        print(f"| {row} | {found.counts[row]} |")
    for fault in found.faults:
        print(fault)
    sys.exit(bool(found.faults or found.counts["temporary files left"]))


if __name__ == "__main__":
    main()
