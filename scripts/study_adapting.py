"""What does dynamic evaluation gain? Bits per character by rate, decay and window of `charlm score --adapt`.

    python scripts/study_adapting.py RUN TEXT [--rates 0.05,0.1,0.2] [--decays 0,0.001] [--windows 20] [--limit N]

Every combination scores the whole text, or its first N characters, with a model that learns from what it has scored.
The constants of charlm/predict/dynamic_evaluation.py were chosen in this way on one play, and measured on another one:
docs/score.md. Choose on a text that the model was not trained on, and measure on a third one.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import product

import charlm
from charlm.predict import dynamic_evaluation


def numbers(text: str) -> list[float]:
    """Numbers between commas."""
    return [float(number) for number in text.split(",")]


def bits(model: charlm.TrainedModel, text: str, rate: float, decay: float, window: int) -> float:
    """Bits per character; infinite if the model diverged."""
    before = dynamic_evaluation.DECAY, dynamic_evaluation.WINDOW
    dynamic_evaluation.DECAY, dynamic_evaluation.WINDOW = decay, window
    try:
        (nats,) = model.surprisals([text], adapt=rate)
    except charlm.CharlmError:
        return math.inf
    finally:
        dynamic_evaluation.DECAY, dynamic_evaluation.WINDOW = before
    return float(nats.mean()) / math.log(2)


def main() -> None:
    """Score, and print a row for every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run or a checkpoint")
    parser.add_argument("text", help="one that the model was not trained on")
    parser.add_argument("--rates", type=numbers, default=[0.02, 0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--decays", type=numbers, default=[dynamic_evaluation.DECAY])
    parser.add_argument("--windows", type=numbers, default=[float(dynamic_evaluation.WINDOW)])
    parser.add_argument("--limit", type=int, help="characters of the text")
    options = parser.parse_args()
    model = charlm.load(options.run)
    text = "".join(piece for source in charlm.read_texts([options.text]) for piece in source)[: options.limit]
    static = model.score(text).bits_per_char
    print(f"{options.text}: {len(text):,} characters, {static:.4f} bits per character without learning\n")
    print("| window | decay | rate | bits per character | gained | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for window, decay, rate in product(options.windows, options.decays, options.rates):
        start = time.perf_counter()
        learned = bits(model, text, rate, decay, int(window))
        seconds = time.perf_counter() - start
        print(
            f"| {window:.0f} | {decay:g} | {rate:g} | {learned:.4f} | {static - learned:+.4f} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
