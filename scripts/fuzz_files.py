"""Open broken and hostile files with charlm, and report whatever is not one of its own errors.

    pip install -e .[fuzz]
    python scripts/fuzz_files.py --seconds 600                       all targets, one after the other
    python scripts/fuzz_files.py --seconds 60 --target checkpoint    one of them
    python scripts/fuzz_files.py --target run --replay FILE          one file again, with its traceback

A finding is an exception that is not a CharlmError, a message of more than one line, a warning, more than 2 seconds,
or more than 100 MB of memory beyond the file's size. Each is kept as a file with its traceback beside it. atheris
guides the search by the coverage of charlm; half of the changes follow the file formats, so that a checkpoint gets
past its checksum. Exit code 1 if there are findings.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

from hostile_files import NGRAM, changed_checkpoint, changed_text, packed, unpacked

SECONDS, MEGABYTES = 2.0, 100  # limits for one file; memory is counted beyond its size
LARGEST = 2**17  # bytes of a file; megabytes have tests of their own
RARELY = 50  # one file in so many is also plotted, and trained on through the command line
TEXT = "The lantern burns.\nThe tide comes in.\n" * 6

Change = Callable[[bytes, Random], bytes]


@dataclass
class Tally:
    """What was tried, and the results."""

    executions: int = 0
    accepted: int = 0
    seconds: float = 0.0  # the most that one file took
    megabytes: float = 0.0  # the most by which one file raised the process's peak
    refusals: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


class PromiseError(Exception):
    """charlm refused a file, but not as documented."""


def command(*arguments: object) -> None:
    """Call a command; raise its message as a CharlmError if it fails with one of charlm's errors."""
    from charlm import CharlmError
    from charlm.cli import main

    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(argument) for argument in arguments])
    except SystemExit as stop:
        said = [line for line in err.getvalue().splitlines() if line.startswith("charlm: ")]
        if stop.code not in (0, 1, 3) or (stop.code and len(said) != 1):
            raise PromiseError(f"{arguments[0]} left with {stop.code} and {err.getvalue()[-500:]!r}") from None
        if stop.code:
            raise CharlmError(said[0]) from None


def put(path: Path, data: bytes) -> None:
    """Write a file, as a new one: to truncate and rewrite one waits for the disk on many systems."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def open_checkpoint(folder: Path, data: bytes) -> None:
    """Load a checkpoint; sample and score with it."""
    import charlm

    path = folder / "x.safetensors"
    put(path, data)
    model = charlm.load(path)
    list(model.sample("", length=3))
    model.score("T\n")


def open_config(folder: Path, data: bytes) -> None:
    """Open a run with a checkpoint by its configuration, and summarise it."""
    import charlm

    put(folder / "config.json", data)
    run = charlm.Run.open(folder)
    charlm.summary(run)
    charlm.resume_notes(run)
    assert all(isinstance(source, str) for source in run.sources)


def open_metrics(folder: Path, data: bytes) -> None:
    """Read metrics; now and then remove the last of them, or plot them."""
    import charlm
    from charlm.plotting.loss import draw

    put(folder / "metrics.jsonl", data)
    run = charlm.Run.open(folder)
    run.metrics()
    if is_rare(data):
        run.forget_metrics_after(5)
        figure = draw([run])
        figure.savefig(io.BytesIO(), format="svg")


def open_ngram(folder: Path, data: bytes) -> None:
    """Mix with an n-gram; its probabilities sum to 1, whatever the file contains."""
    import charlm

    put(folder / "ngram.counts", data)
    model = charlm.load(folder, mix=True)
    list(model.sample("T", length=3))
    model.score("The tide\n")
    for text in ("", "The tide", "xyz"):
        total = model.next_probs(model.read(text)).sum()
        if not abs(total - 1) < 1e-4:
            raise PromiseError(f"probabilities that sum to {total}")


def changed_ngram(data: bytes, rng: Random) -> bytes:
    """An n-gram file with wrong content."""
    return changed_checkpoint(data, rng, NGRAM)


def open_run(folder: Path, data: bytes) -> None:
    """Use all of a run, through the library and through the commands."""
    import charlm

    names = ("config.json", "metrics.jsonl", "last.safetensors")
    for name, part in zip(names, unpacked(data, len(names)), strict=True):
        put(folder / name, part)
    command("info", folder)
    command("info", folder, "--json")
    command("sample", folder, "-n", 3, "--rng-seed", 1)
    command("score", folder, folder.parent / "text.txt")
    run = charlm.Run.open(folder)
    if run.model.parameters > 10**5:  # a large network may be slow
        return
    if is_rare(data):
        command("train", "--resume", folder, folder.parent / "text.txt", "--steps", 3, "--quiet")
        command("plot", folder, "-o", folder / "x.png")
        return
    training = charlm.train(run, charlm.read_corpus(folder.parent / "text.txt"))
    for _ in zip(range(2), training):  # noqa: B905 - it ends with either
        pass
    training.close()


def is_rare(data: bytes) -> bool:
    """The same answer for the same file, so that a finding can be repeated."""
    return hashlib.sha256(data).digest()[0] % RARELY == 0


def changed_run(data: bytes, rng: Random) -> bytes:
    """A run with one or two of its files changed."""
    parts = unpacked(data, 3)
    for number in rng.sample(range(3), rng.choice((1, 1, 2))):
        change: Change = changed_checkpoint if number == 2 else changed_text
        parts[number] = change(parts[number], rng)
    return packed(*parts)


TARGETS: dict[str, tuple[Callable[[Path, bytes], None], Change]] = {
    "checkpoint": (open_checkpoint, changed_checkpoint),
    "config": (open_config, changed_text),
    "metrics": (open_metrics, changed_text),
    "ngram": (open_ngram, changed_ngram),
    "run": (open_run, changed_run),
}


def seeds(target: str, folder: Path) -> list[bytes]:
    """Good files to begin with, of small networks of every kind; in `folder`, the other files that the target needs."""
    import charlm

    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    corpus = charlm.read_corpus(folder / "text.txt")
    kinds: list[tuple[str, dict[str, object]]] = [
        ("sgd", {}),
        ("adamw", {"layers": 2, "reset": "after", "embedding": 3}),
        ("rmsprop", {"cell": "lstm", "embedding": 4, "tied": True}),
        ("adam", {"cell": "rnn", "activation": "relu", "layers": 2}),
    ]
    found = []
    for number, (optimizer, network) in enumerate(kinds):
        spec = charlm.TrainSpec(batch=2, window=5, steps=6, evaluations=2, reports=3, optimizer=optimizer)
        run = charlm.new_run(corpus, folder / f"seed-{number}", spec, **{"hidden": 4} | network)
        for _ in charlm.train(run, corpus):
            pass
        run.config["training"]["steps"] = 60  # something is left to train
        run.save_config()
        files = [run.path / "config.json", run.metrics_path, run.last_path, run.ngram_path]
        names = ("config", "metrics", "checkpoint", "ngram")
        whole = dict(zip(names, (file.read_bytes() for file in files), strict=True))
        found.append(packed(*list(whole.values())[:3]) if target == "run" else whole[target])
    opened = folder / "opened"
    opened.mkdir()
    if target in ("config", "metrics", "ngram"):
        for name in ("config.json", "last.safetensors", *(["mix.json"] if target == "ngram" else [])):
            (opened / name).write_bytes((folder / "seed-0" / name).read_bytes())
    return found


class Judge:
    """Opens one file after the other, counts them, and keeps the findings."""

    def __init__(self, target: str, folder: Path, findings: Path | None) -> None:
        self.target, self.folder, self.findings = target, folder / "opened", findings
        self.tally = Tally()
        self._refusals: set[str] = set()

    def __call__(self, data: bytes) -> None:
        """Open one file."""
        from charlm import CharlmError

        peak, start = peak_megabytes(), time.monotonic()
        try:
            self._fault(data)
        except CharlmError as error:
            self._refusals.add(without_particulars(str(error)))
            if len(str(error).splitlines()) != 1 or not str(error).isprintable() or len(str(error)) > 2000:
                self._keep(data, PromiseError(f"not one short line: {str(error)[:2000]!r}"))
        except Exception as error:
            self._keep(data, error)
        else:
            self.tally.accepted += 1
        seconds, megabytes = time.monotonic() - start, peak_megabytes() - peak
        self.tally.executions += 1
        self.tally.seconds = max(self.tally.seconds, seconds)
        self.tally.megabytes = max(self.tally.megabytes, megabytes)
        if seconds > SECONDS or megabytes > MEGABYTES + len(data) / 1e6:
            self._keep(data, PromiseError(f"{seconds:.1f} s and {megabytes:.0f} MB"))

    def _fault(self, data: bytes) -> None:
        self.folder.mkdir(exist_ok=True)
        with warnings.catch_warnings(), patch.object(os, os.fsync.__name__):  # the files need not outlive the machine
            warnings.simplefilter("error")
            TARGETS[self.target][0](self.folder, data)

    def _keep(self, data: bytes, error: Exception) -> None:
        """Keep a finding, if it is the first of this exception in this place."""
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames) if "charlm" in f.filename), "")
        kind = f"{type(error).__name__} {place or without_particulars(str(error)[:200])}"
        if kind in self.tally.findings:
            return
        self.tally.findings.append(kind)
        if self.findings is not None:
            name = f"{self.target}-{type(error).__name__}-{hashlib.sha256(data).hexdigest()[:10]}"
            (self.findings / name).write_bytes(data)
            text = "".join(traceback.format_exception(error))
            (self.findings / f"{name}.txt").write_text(text, encoding="utf-8", errors="backslashreplace")

    def write(self, path: Path) -> None:
        """Write the tally for another process."""
        self.tally.refusals = sorted(self._refusals)
        path.write_text(json.dumps(asdict(self.tally)), encoding="utf-8")


def without_particulars(message: str) -> str:
    """A message without numbers, quotations and paths: what messages of one kind have in common."""
    return re.sub(r"'.*?'|[\d,.]+|/\S+", "_", message)


def peak_megabytes() -> float:
    """The peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(target: str, seconds: float, seed: int, findings: Path, tally: Path) -> None:
    """Fuzz one target in this process, which does not outlive it: libFuzzer never returns."""
    import atheris

    with atheris.instrument_imports(include=["charlm"]):
        pass

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = folder / "corpus"
        corpus.mkdir()
        judge, change = Judge(target, folder, findings), TARGETS[target][1]
        whole = seeds(target, folder)
        for number, data in enumerate(whole):
            (corpus / str(number)).write_bytes(data)
            judge(data)  # imports at the first use do not count
        judge.tally.seconds = judge.tally.megabytes = 0.0
        end, written = time.monotonic() + seconds, 0.0

        def one(data: bytes) -> None:
            nonlocal written
            judge(data)
            now = time.monotonic()
            if now > end or now > written + 1:
                judge.write(tally)
                written = now
            if now > end:
                os._exit(0)

        def mutated(data: bytes, most: int, number: int) -> bytes:
            rng = Random(number)
            if rng.random() < 0.5:
                changed: bytes = atheris.Mutate(data, most)
            else:
                changed = change(data, rng)
                if changed == data:  # it cannot be parsed
                    changed = change(rng.choice(whole), rng)
            return changed if len(changed) <= most else data

        options = [f"-seed={seed}", f"-max_len={LARGEST}", "-timeout=30", "-rss_limit_mb=4096", "-close_fd_mask=0"]
        options += [f"-artifact_prefix={findings}/{target}-died-", str(corpus)]
        atheris.Setup([sys.argv[0], *options], one, custom_mutator=mutated)
        atheris.Fuzz()


def fuzz(target: str, seconds: float, seed: int, findings: Path) -> Tally:
    """Fuzz one target in a process of its own, which may crash."""
    with tempfile.TemporaryDirectory() as temporary:
        tally, log = Path(temporary) / "tally.json", Path(temporary) / "log"
        arguments = [target, seconds, seed, findings.resolve(), tally]
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, str(Path(__file__).resolve()), "--work", json.dumps(arguments, default=str)],
                stdout=output,
                stderr=output,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        said = log.read_text(encoding="utf-8", errors="replace")
        result = Tally(**json.loads(tally.read_text(encoding="utf-8"))) if tally.exists() else Tally()
        if done.returncode:
            result.findings.append(f"the process died with {done.returncode}: {said[-1000:]}")
        return result


def main() -> None:
    """Fuzz, or replay one file; exit 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together (default: 600)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="what is opened (default: every one)")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder to keep findings in")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="open this one file, of one target, and tell")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        target, seconds, seed, findings, tally = json.loads(options.work)
        work(target, seconds, seed, Path(findings), Path(tally))
    targets = options.target or list(TARGETS)
    if options.replay:
        if len(targets) != 1:
            parser.error("--replay needs to know the --target")
        replay(targets[0], options.replay)
        return
    options.findings.mkdir(parents=True, exist_ok=True)
    found = 0
    print(
        f"{'target':12}{'executions':>12}{'accepted':>10}{'refusals':>10}{'worst s':>9}{'worst MB':>10}{'findings':>10}"
    )
    for target in targets:
        tally = fuzz(target, options.seconds / len(targets), options.seed, options.findings)
        found += len(tally.findings)
        print(
            f"{target:12}{tally.executions:>12,}{tally.accepted:>10,}{len(tally.refusals):>10}"
            f"{tally.seconds:>9.2f}{tally.megabytes:>10.1f}{len(tally.findings):>10}",
            flush=True,
        )
        for finding in tally.findings:
            print(f"    {finding}")
    print(f"{found} findings" + (f", kept in {options.findings}" if found else ""))
    sys.exit(found > 0)


def replay(target: str, file: Path) -> None:
    """Open one file of a target without catching its exception."""
    with tempfile.TemporaryDirectory() as temporary:
        seeds(target, Path(temporary))
        start = time.monotonic()
        try:
            TARGETS[target][0](Path(temporary) / "opened", file.read_bytes())
            print("accepted", end="")
        finally:
            print(f" after {time.monotonic() - start:.3f} s, at a peak of {peak_megabytes():.0f} MB")


if __name__ == "__main__":
    main()
