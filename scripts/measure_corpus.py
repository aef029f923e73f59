"""Measure training on a large text: seconds to the first step, peak memory, and the speed of reading and encoding.

    python scripts/measure_corpus.py                        1 GB of English letters
    python scripts/measure_corpus.py --megabytes 200 --letters greek

Makes a text of that size from corpora/lanterns.txt and a cache in a temporary folder, runs `charlm train` for two steps
in two processes, one after the other, and removes everything. "To the first step" is from the start of the process to
the line that `charlm train` writes after the first step (and, with a budget of two steps, its evaluation). "Anonymous"
is the highest anonymous memory, sampled every 20 ms (Linux only). The rest of the peak is mapped files, such as
libraries and ids, which the system can evict at any time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

SAMPLE = Path(__file__).resolve().parent.parent / "corpora" / "lanterns.txt"
GREEK = {ord(latin): 0x3B1 + index for index, latin in enumerate("abcdefghijklmnopqrstuvwxy")}
HAN = {ord(latin): 0x4E00 + index for index, latin in enumerate("abcdefghijklmnopqrstuvwxyz")}
LETTERS: dict[str, dict[int, int]] = {"english": {}, "greek": GREEK, "han": HAN}  # 1, 2 and 3 bytes each
MB = 10**6
READ = """
import sys, time
from charlm import read_texts
start = time.perf_counter()
for text in read_texts([sys.argv[1]]):
    for piece in text:
        pass
print(time.perf_counter() - start)
"""
ENCODE = """
import sys, time
from charlm import read_corpus
start = time.perf_counter()
read_corpus(sys.argv[1])
print(time.perf_counter() - start)
"""


class Cost(NamedTuple):
    """Of one process: seconds to the first step and to its end, peak memory and peak anonymous memory in bytes."""

    first_step: float
    seconds: float
    peak: int
    anonymous: int


def make_text(path: Path, size: int, letters: str) -> None:
    """Write the lines of the sample again and again, shuffled each time, so that no two parts are alike."""
    lines = SAMPLE.read_text(encoding="utf-8").translate(LETTERS[letters]).splitlines(keepends=True)
    rng = random.Random(0)
    with path.open("wb") as file:
        while file.tell() < size:
            rng.shuffle(lines)
            file.write("".join(lines).encode())


def train(text: Path, cache: Path, out: Path) -> Cost:
    """`charlm train` for two steps."""
    command = [sys.executable, "-m", "charlm", "train", str(text), "--steps", "2", "--out", str(out)]
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=os.environ | {"CHARLM_CACHE": str(cache)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        anonymous: list[int] = []
        watcher = threading.Thread(target=watch_memory, args=(process.pid, anonymous))
        watcher.start()
        assert process.stderr is not None
        lines = [(time.perf_counter() - start, line) for line in process.stderr]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        watcher.join()
    if process.returncode:
        sys.exit(b"".join(line for _, line in lines).decode())
    first = next(when for when, line in lines if b"The run is in" in line)
    return Cost(first, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), max(anonymous, default=0))


def watch_memory(pid: int, anonymous: list[int]) -> None:
    """Sample a process's anonymous memory until it ends; only where there is /proc."""
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            found = [line for line in status.read_text().splitlines() if line.startswith("RssAnon:")]
        except OSError:
            return
        if not found:  # it has ended
            return
        anonymous.append(int(found[0].split()[1]) * 1024)
        time.sleep(0.02)


def seconds_of(program: str, text: Path, cache: Path) -> float:
    """The seconds that a small program measures, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(text)],
        env=os.environ | {"CHARLM_CACHE": str(cache)},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--letters", choices=LETTERS, default="english")
    options = parser.parse_args()
    size = int(options.megabytes * MB)
    if shutil.disk_usage(tempfile.gettempdir()).free < 6 * size:  # the text, ids of up to two encodings, and a reserve
        sys.exit(f"less than {6 * size // MB:,} MB free in {tempfile.gettempdir()}: set TMPDIR, or --megabytes")
    with tempfile.TemporaryDirectory(prefix="charlm-measure-") as folder:
        here = Path(folder)
        text = here / "text.txt"
        make_text(text, size, options.letters)
        megabytes = text.stat().st_size / MB
        print(f"{megabytes:,.0f} MB of {options.letters} letters")
        for attempt in ("first", "second"):
            cost = train(text, here / "cache", here / attempt)
            print(
                f"{attempt:>6} run: {cost.first_step:6.1f} s to the first step, {cost.seconds:6.1f} s in all, "
                f"peak memory {cost.peak / MB:,.0f} MB, anonymous {cost.anonymous / MB:,.0f} MB"
            )
        shutil.rmtree(here / "cache")
        print(f"   reading: {megabytes / seconds_of(READ, text, here / 'cache'):6.0f} MB/s to clean text")
        print(f"  encoding: {megabytes / seconds_of(ENCODE, text, here / 'cache'):6.0f} MB/s to ids on the disk")


if __name__ == "__main__":
    main()
