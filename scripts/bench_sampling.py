"""How fast charlm samples and scores: characters per second beside PyTorch, and beside its own training.

    python scripts/bench_sampling.py
    python scripts/bench_sampling.py --shapes 256,1 --repeats 9 --json sampling.json

Sampling: one sample at temperature 0.8, character by character, as by `charlm sample`; PyTorch steps its nn.GRU in
inference mode on one thread, which is its fastest way; `64 at once` are as many samples of charlm side by side.
Scoring: charlm reads a long text; `of training` is that rate beside the training rate of the same network.
Then the seconds from the start of the process to the first character of a sample, and to the end of --help.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench_training import Shape as TrainingShape
from bench_training import charlm_rate
from rounds import compare, free_the_kernel, machine, parser_of, rate_of, write_json

from charlm import CharLM, ModelSpec, SampleSpec, Vocabulary, blas_threads
from charlm.predict.network import Network
from charlm.sampling.sample import sample, samples
from charlm.scoring.score import score_ids

VOCABULARY = Vocabulary("\n" + "".join(map(chr, range(32, 96))))
LENGTH, SAMPLES = 500, 64
SCORED = 2**20  # characters
TEMPERATURE = 0.8


class Shape(NamedTuple):
    """H units, L layers."""

    H: int
    L: int

    @classmethod
    def of(cls, text: str) -> Shape:
        """From `256,1`."""
        return cls(*map(int, text.split(",")))

    def __str__(self) -> str:
        return f"H{self.H} L{self.L}"


SHAPES = [Shape(128, 1), Shape(256, 1), Shape(256, 2), Shape(512, 2)]


def network(shape: Shape) -> Network:
    """A network as it is before training."""
    model = CharLM(ModelSpec(len(VOCABULARY) + 1, shape.H, shape.L))
    return Network(model, model.initial_params(np.random.default_rng(0)), VOCABULARY.start)


def one(shape: Shape) -> float:
    """One sample."""
    predictor, spec, rng = network(shape), SampleSpec(LENGTH, TEMPERATURE), np.random.default_rng(0)
    with blas_threads(1):  # as the command does
        return rate_of(lambda: "".join(sample(predictor, VOCABULARY, "T", spec, rng)), LENGTH)


def many(shape: Shape) -> float:
    """Many samples side by side: characters of all together."""
    predictor, spec = network(shape), SampleSpec(LENGTH, TEMPERATURE)
    rngs = [np.random.default_rng(number) for number in range(SAMPLES)]
    return rate_of(lambda: samples(predictor, VOCABULARY, "T", spec, rngs), LENGTH * SAMPLES)


def scoring(shape: Shape) -> float:
    """A long text."""
    predictor, ids = network(shape), np.random.default_rng(0).integers(0, len(VOCABULARY), SCORED).astype(np.uint8)
    return rate_of(lambda: score_ids(predictor, ids), SCORED)


def training(shape: Shape) -> float:
    """The training rate of the same network."""
    return charlm_rate(TrainingShape("gru", shape.H, shape.L, 64, 100), None)


def torch_one(shape: Shape) -> float:
    """One sample of PyTorch, step by step."""
    import torch

    torch.set_num_threads(1)
    V = len(VOCABULARY)
    gru, readout = torch.nn.GRU(V, shape.H, shape.L).eval(), torch.nn.Linear(shape.H, V)
    one_hot = torch.eye(V)

    def write() -> str:
        text, state, chosen = [], torch.zeros(shape.L, 1, shape.H), 1
        with torch.inference_mode():
            for _ in range(LENGTH):
                output, state = gru(one_hot[chosen].view(1, 1, V), state)
                p = torch.softmax(readout(output[0, 0]) / TEMPERATURE, 0)
                chosen = int(torch.multinomial(p, 1))
                text.append(VOCABULARY.characters[chosen])
        return "".join(text)

    return rate_of(write, LENGTH)


MEASURES = {"one": one, "many": many, "scoring": scoring, "training": training, "torch": torch_one}


def seconds_to(arguments: list[str], first_byte: bool) -> float:
    """From the start of `charlm ARGUMENTS` to its first byte of output, or to its end; the median of some."""
    durations = []
    for _ in range(7):
        start = time.perf_counter()
        command = [sys.executable, "-m", "charlm", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.read(1 if first_byte else -1)
            durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def cold_start() -> dict[str, float]:
    """Seconds to the first character of a sample of a trained run of 256 units, and to the end of --help."""
    with tempfile.TemporaryDirectory() as folder:
        text, run = Path(folder, "text.txt"), str(Path(folder, "run"))
        text.write_text("Down by the harbour the lanterns come on.\n" * 200)
        command = [sys.executable, "-m", "charlm", "train", str(text), "--steps", "1", "--out", run, "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        return {
            "first character": seconds_to(["sample", run, "--seed", "T"], first_byte=True),
            "--help": seconds_to(["--help"], first_byte=False),
        }


def main() -> None:
    """Parse, measure, print a table, write JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--shapes", nargs="*", type=Shape.of, default=SHAPES, help="H,L each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    free_the_kernel(options.keep_kernel)
    if options.measure:
        print(MEASURES[options.measure](options.shapes[0]))
        return

    here = machine()
    print(f"{here['processors']} processors, {here['blas']}; medians of {options.repeats} rounds")
    print(f"{'shape':<10}{'one sample':>11}{'PyTorch':>18}{'64 at once':>18}{'scoring':>11}{'of training':>13}")
    names = [name for name in MEASURES if name != "torch" or importlib.util.find_spec("torch")]
    results = {}
    for shape in options.shapes:
        rounds = compare(__file__, names, ["--shapes", ",".join(map(str, shape))], options.repeats)
        results[str(shape)] = rounds.rates
        peer = f"{rounds.median('torch'):,.0f} ({rounds.ratio('one', 'torch'):.1f}x)" if "torch" in names else ""
        at_once = f"{rounds.median('many'):,.0f} ({rounds.ratio('many', 'one'):.1f}x)"
        print(
            f"{shape!s:<10}{rounds.median('one'):>11,.0f}{peer:>18}{at_once:>18}"
            f"{rounds.median('scoring'):>11,.0f}{rounds.ratio('scoring', 'training'):>12.1f}x",
            flush=True,
        )
    seconds = cold_start()
    for what, duration in seconds.items():
        print(f"{duration:.2f} s to {what}")
    write_json(options.json, {"machine": here, "shapes": results, "seconds": seconds})


if __name__ == "__main__":
    main()
