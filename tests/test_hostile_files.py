"""Whatever is in a checkpoint file: it is refused by CheckpointError, soon and with little memory, or it works."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hostile_files import (
    Tensors,
    changed_checkpoint,
    checkpoint_parts,
    forged,
    header_of,
    nested,
    safetensors_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import (
    DEEP,
    MEGABYTES,
    SEEDS,
    at_little_memory,
    is_short_line,
    peak_megabytes,
    put,
    refusal,
    refused_or,
    use,
)
from runs import (
    bits_of,
    run_to_end,
    short_corpus,
    some_checkpoint,
    tiny_run,
)

from charlm import TrainSpec, load
from charlm.arrays import NamedArrays
from charlm.errors import CheckpointError, DivergenceError, SpecError
from charlm.files.strict_json import MOST_VALUES
from charlm.nn.model import MOST_CHARACTERS, ModelSpec
from charlm.runs.checkpoint import MOST_HEADER, Checkpoint, load_checkpoint, save_checkpoint
from charlm.text.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small checkpoint from training, with an optimizer's memory and a state."""
    folder = tmp_path_factory.mktemp("whole")
    corpus = short_corpus(folder)
    run = tiny_run(folder / "run", corpus, TrainSpec(batch=2, window=5, steps=3, optimizer="adam"))
    return run_to_end(run, corpus).last_path.read_bytes()


# ----------------------------------------------------------------------------------------------- a checkpoint's bytes


def test_cut_at_every_64th_byte(whole: bytes, file: Path) -> None:
    """Law: no proper beginning of a checkpoint is a checkpoint."""
    for length in sorted({*range(0, len(whole), 64), *range(17), len(whole) - 1}):
        put(file, whole[:length])
        refusal(CheckpointError, load_checkpoint, file)
    put(file, whole)
    load_checkpoint(file)


def regions(data: bytes) -> dict[str, tuple[int, int]]:
    """Where the parts of a checkpoint begin and end: its length, its head, its metadata, and each of its tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = data.index(b'"__metadata__"')
    found = {"length": (0, 8), "header": (8, end), "metadata": (metadata, data.index(b"}", metadata))}
    for name in header.keys() - {"__metadata__"}:
        start, stop = header[name]["data_offsets"]
        found[name] = (end + start, end + stop)
    assert max(stop for _, stop in found.values()) == len(data)
    return found


def test_a_flip_in_every_region(whole: bytes, file: Path) -> None:
    """Law: whichever bit is flipped, the file is refused, or holds exactly what was saved."""
    put(file, whole)
    saved, rng = bits_of(load_checkpoint(file)), Random(1)
    for start, stop in regions(whole).values():
        places = {start, stop - 1, *(rng.randrange(start, stop) for _ in range(8))}
        for place in places if stop - start > 8 else range(start, stop):
            changed = bytearray(whole)
            changed[place] ^= 1 << rng.randrange(8)
            put(file, changed)
            refused_or(check_bits, file, saved)


def check_bits(file: Path, saved: dict[str, Any]) -> None:
    """Load a checkpoint, which must be the one that was saved."""
    assert bits_of(load_checkpoint(file)) == saved


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(["zeros", "moved", "doubled", "dropped", "noise", "reversed"]))
def test_changed_pieces(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int, how: str) -> None:
    """Law: the same for pieces of up to a few hundred bytes, as a failing disk or transfer may change them."""
    rng, file = Random(seed), tmp_path_factory.getbasetemp() / "pieces.safetensors"
    start = rng.randrange(len(whole))
    stop = min(len(whole), start + rng.randrange(1, 600))
    before, piece, after = whole[:start], whole[start:stop], whole[stop:]
    other = {
        "zeros": bytes(len(piece)),
        "moved": whole[-len(piece) :],
        "doubled": piece * 2,
        "dropped": b"",
        "noise": rng.randbytes(len(piece)),
        "reversed": piece[::-1],
    }
    put(file, whole)
    saved = bits_of(load_checkpoint(file))
    put(file, before + other[how] + after)
    refused_or(check_bits, file, saved)


# ---------------------------------------------------------------------------------------------- a checkpoint's header


def entry(kind: str = "F32", shape: Any = (5,), offsets: Any = (0, 20)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


def with_entry(name: str, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    """Change the header's entry of one tensor."""
    return lambda header: header | {name: header[name] | changes}


B = "params/readout.b"  # (5,) in `some_checkpoint`
HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "huge shape": with_entry(B, shape=[10**12]),
    "shape beyond the machine's words": with_entry(B, shape=[2**64]),
    "shape with as many bytes, by overflow": with_entry(B, shape=[2**62, 5, 2**2]),
    "negative shape": with_entry(B, shape=[-5]),
    "shape of numbers with a point": with_entry(B, shape=[5.0]),
    "shape of true": with_entry(B, shape=[True, 5]),
    "shape is no list": with_entry(B, shape=5),
    "shape is null": with_entry(B, shape=None),
    "more dimensions than arrays have": with_entry(B, shape=[1] * 70 + [5]),
    "very many dimensions": with_entry(B, shape=[1] * DEEP + [5]),
    "nothing, of huge size": with_entry(B, shape=[0, 2**62]),
    "offsets overlap": lambda header: with_entry(B, data_offsets=header["state/0"]["data_offsets"])(header),
    "offsets beyond the end": with_entry(B, data_offsets=[10**9, 10**9 + 16]),
    "offsets turned round": with_entry(B, data_offsets=[16, 0]),
    "negative offsets": with_entry(B, data_offsets=[-16, 0]),
    "offsets of strings": with_entry(B, data_offsets=["0", "16"]),
    "offsets missing": lambda header: header | {B: {"dtype": "F32", "shape": [5]}},
    "type missing": lambda header: header | {B: {"shape": [5], "data_offsets": [0, 20]}},
    "type is a list": with_entry(B, dtype=["F32"]),
    "tensor is null": lambda header: header | {B: None},
    "tensor is a string": lambda header: header | {B: "F32"},
    "tensor of no size": lambda header: header | {"optimizer/x": entry("F32", [0], [0, 0])},
    "name missing": lambda header: {name: value for name, value in header.items() if name != B},
    "name with a zero": lambda header: {name.replace(B, B + "\0"): value for name, value in header.items()},
    "name of a line": lambda header: {name.replace(B, "a\nb\x1b[2J"): value for name, value in header.items()},
    "name very long": lambda header: {name.replace(B, "params/" + "b" * DEEP): value for name, value in header.items()},
    "only metadata": lambda header: {"__metadata__": header["__metadata__"]},
    "no metadata": lambda header: {name: value for name, value in header.items() if name != "__metadata__"},
    "metadata is null": lambda header: header | {"__metadata__": None},
    "metadata is a list": lambda header: header | {"__metadata__": ["charlm"]},
    "metadata of numbers": lambda header: header | {"__metadata__": {"charlm": 1}},
    "metadata of an object": lambda header: header | {"__metadata__": {"charlm": {"format": 1}}},
    "head is empty": lambda header: header | {"__metadata__": {"charlm": ""}},
    "head is a list": lambda header: header | {"__metadata__": {"charlm": "[1]"}},
    "head is nested": lambda header: header | {"__metadata__": {"charlm": "[" * DEEP}},
    "head with a key twice": lambda header: (
        header | {"__metadata__": {"charlm": header["__metadata__"]["charlm"].replace("{", '{"format": 1, ', 1)}}
    ),
    "a list": lambda header: list(header),
    "a string": lambda header: "__metadata__",
    "null": lambda header: None,
    "pairs": lambda header: [[name, value] for name, value in header.items()],
    "nested": lambda header: b"[" * DEEP,
    "nested objects": lambda header: b'{"a":' * DEEP,
    "a tensor twice": lambda header: json.dumps(header).replace("{", f'{{"{B}": {json.dumps(entry())}, ', 1).encode(),
    "a tensor twice, alike": lambda header: (
        json.dumps(header).replace("{", f'{{"{B}": {json.dumps(header[B])}, ', 1).encode()
    ),
    "metadata twice": lambda header: json.dumps(header).replace("{", '{"__metadata__": {"charlm": "{}"}, ', 1).encode(),
    "a key of it twice": lambda header: (
        json.dumps(header).replace('{"charlm"', '{"charlm": "{}", "charlm"', 1).encode()
    ),
    "not UTF-8": lambda header: json.dumps(header).encode().replace(b"readout", b"read\xffut"),
    "UTF-16": lambda header: json.dumps(header).encode("utf-16-le"),
    "a byte order mark": lambda header: b"\xef\xbb\xbf" + json.dumps(header).encode(),
    "NaN": lambda header: json.dumps(header).replace("[5]", "[NaN]").encode(),
    "a second value": lambda header: json.dumps(header).encode() + b"{}",
}
KINDS = (
    *("F64", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64"),
    *("F8_E5M2", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "F128", "f32"),
)


def parts_of_some_checkpoint(file: Path) -> tuple[dict[str, Any], Tensors]:
    save_checkpoint(file, some_checkpoint())
    return checkpoint_parts(file.read_bytes())


def header_and_body(file: Path) -> tuple[dict[str, Any], bytes]:
    """Those of a good checkpoint."""
    head, tensors = parts_of_some_checkpoint(file)
    header = {"__metadata__": {"charlm": json.dumps(head)}} | header_of(tensors)
    body = b"".join(array.tobytes() for array in tensors.values())
    put(file, safetensors_file(header, body))
    load_checkpoint(file)
    return header, body


@pytest.mark.parametrize("change", HEADERS)
def test_wrong_headers(change: str, file: Path) -> None:
    """Law: refused, though all the rest is right."""
    header, body = header_and_body(file)
    put(file, safetensors_file(HEADERS[change](header), body))
    refusal(CheckpointError, load_checkpoint, file)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_another_type(kind: str, file: Path) -> None:
    """Law: refused, whether or not safetensors and NumPy know that type, in charlm's file and in a foreign one."""
    header, body = header_and_body(file)
    put(file, safetensors_file(with_entry(B, dtype=kind)(header), body))
    refusal(CheckpointError, load_checkpoint, file)
    for metadata in ({}, {"format": "pt"}, {"charlm": "{}"}):
        put(file, safetensors_file({"__metadata__": metadata, "weight": entry(kind)}, bytes(16)))
        refusal(CheckpointError, load_checkpoint, file)


@pytest.mark.parametrize("length", [0, 1, 8, MOST_HEADER - 1, MOST_HEADER, MOST_HEADER + 1, 2**31, 2**63, 2**64 - 1])
def test_wrong_lengths_of_a_header(length: int, whole: bytes, file: Path) -> None:
    """Law: refused, without reserving that length."""
    put(file, length.to_bytes(8, "little") + whole[8:])
    assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < MOST_HEADER / 1e6 + 1


@pytest.mark.slow
def test_the_largest_header(file: Path) -> None:
    """Law: every network that may be trained can be saved and loaded: the most layers and the most characters."""
    spec = ModelSpec(MOST_CHARACTERS, hidden=1, layers=1000)
    vocabulary = Vocabulary("".join(map(chr, range(0x10000, 0x10000 + MOST_CHARACTERS - 1))))
    params = NamedArrays(spec.shapes)
    memory = {
        f"{kind}.{name}": array for kind in ("square", "mean") for name, array in params.items() if array.size < 9
    }
    state = (np.zeros((1, 1), np.float32),) * spec.layers
    save_checkpoint(file, Checkpoint(spec, vocabulary, params, memory, state))
    assert load_checkpoint(file).vocabulary == vocabulary
    with pytest.raises(SpecError):
        ModelSpec(MOST_CHARACTERS + 1, hidden=1)


def test_a_foreign_file_of_many_gigabytes(file: Path) -> None:
    """Law: a file that charlm did not write is refused before its tensors are read."""
    size = 2**36
    for metadata in (None, {"format": "pt"}):
        header = {"model.weight": entry("F32", [size // 4], [0, size])}
        put(file, safetensors_file(header | ({"__metadata__": metadata} if metadata else {})))
        os.truncate(file, file.stat().st_size + size)  # holes: there is no such disk here
        assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < 1


def test_a_tensor_of_many_gigabytes(file: Path) -> None:
    """Law: in a file of charlm's, a tensor that does not fit the model is refused before it is read, too."""
    header, body = header_and_body(file)
    size = 2**36
    for name in (B, "optimizer/x", "optimizer/velocity.readout.b", "x", "params/x"):
        big = header | {name: entry("F32", [size // 4], [len(body), len(body) + size])}
        put(file, safetensors_file(big, body))
        os.truncate(file, file.stat().st_size + size)
        assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < 1


# ------------------------------------------------------------------------------- wrong content with a right checksum


def model_of(**changes: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head["model"].update(changes)


def head_of(**changes: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head.update(changes)


def head_without(key: str) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head.pop(key)


def step_of(value: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head["progress"].update(step=value)


def tensor_of(name: str, array: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: tensors.update({name: np.asarray(array)})


STEPS: list[Any] = [-1, 2**63, 10**4000, 1.5, 1e300, True, None, "1", [0] * 999, {}]
ONES = np.ones(5, np.float32)
WRONG: dict[str, Callable[[dict[str, Any], Tensors], object]] = {
    **{f"format {value!r:.20}": head_of(format=value) for value in (0, 2, 99, 10**400, -1, 1.5, "1", None, [1] * 999)},
    **{f"no {key}": head_without(key) for key in ("format", "model", "vocabulary", "progress")},
    "model of pairs": head_of(model=[["vocabulary", 5]]),
    "model of a list": head_of(model=[]),
    "hidden a thousand million": model_of(hidden=10**9),
    "hidden beyond all": model_of(hidden=10**4000),
    "hidden 3.0": model_of(hidden=3.0),
    "hidden true": model_of(hidden=True),
    "hidden 0": model_of(hidden=0),
    "hidden of a string": model_of(hidden="3"),
    "a million layers": model_of(layers=10**6),
    "embedding negative": model_of(embedding=-1),
    "embedding huge": model_of(embedding=10**9),
    "vocabulary size huge": model_of(vocabulary=10**9),
    "no vocabulary size": lambda head, tensors: head["model"].pop("vocabulary"),
    "cell of another kind": model_of(cell="qrnn"),
    "cell of a list": model_of(cell=[]),
    "cell very long": model_of(cell="x" * 10**5),
    "cell lstm": model_of(cell="lstm"),
    "tied": model_of(tied=True),
    "tied of 1": model_of(tied=1),
    "residual of a list": model_of(residual=[[]]),
    "residual deep": model_of(residual=nested(90)),
    "bidirectional": model_of(bidirectional=True),
    "bidirectional 5": model_of(bidirectional=5),
    "bidirectional -1": model_of(bidirectional=-1),
    "bidirectional 0": model_of(bidirectional=0),
    "an unknown size of two lines": model_of(**{"a\nb\x1b[2J": 1}),
    "an unknown size, very long": model_of(**{"a" * 10**5: 1}),
    "vocabulary with one character twice": head_of(vocabulary="aabc"),
    "vocabulary with half of a pair": head_of(vocabulary="abc\ud800"),
    "vocabulary with a byte that was none": head_of(vocabulary="abc\udcff"),
    "vocabulary empty": head_of(vocabulary=""),
    "vocabulary too long": head_of(vocabulary="abcde"),
    "vocabulary of a list": head_of(vocabulary=list("abcd")),
    "vocabulary of an object": head_of(vocabulary=dict.fromkeys("abcd")),
    "vocabulary of a number": head_of(vocabulary=4),
    "progress of a list": head_of(progress=[]),
    "progress of pairs": head_of(progress=[["step", 1]]),
    "progress of null": head_of(progress=None),
    **{f"step {value!r:.20}": step_of(value) for value in STEPS},
    "a value deep": head_of(x=nested(150)),
    "a value very deep": head_of(x=nested(900)),
    "no parameters": lambda head, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("params/")],
    "a parameter less": lambda head, tensors: tensors.pop(B),
    "a parameter more": tensor_of("params/x", ONES),
    "a parameter of another shape": tensor_of(B, np.ones((2, 2), np.float32)),
    "a parameter of one dimension more": tensor_of(B, ONES[None]),
    "a parameter empty": tensor_of(B, ONES[:0]),
    "a parameter of float64": tensor_of(B, [1e300] * 5),
    "a parameter of float16": tensor_of(B, ONES.astype(np.float16)),
    "a parameter of int32": tensor_of(B, ONES.astype(np.int32)),
    "a parameter of truths": tensor_of(B, ONES.astype(bool)),
    **{
        f"{name} of {value}": tensor_of(name, np.full(shape, value, np.float32))
        for value in (math.nan, math.inf, -math.inf)
        for name, shape in ((B, 5), ("state/0", (2, 3)), ("optimizer/velocity.readout.b", 5))
    },
    "a count that is no number": tensor_of("optimizer/updates", [math.nan]),
    "a memory of another shape": tensor_of("optimizer/velocity.readout.b", np.ones(6, np.float32)),
    "a memory of what is no parameter": tensor_of("optimizer/velocity.x", ONES),
    "a memory of whole numbers": tensor_of("optimizer/velocity.readout.b", ONES.astype(np.int32)),
    "a state less": lambda head, tensors: tensors.pop("state/0"),
    "a state more": tensor_of("state/2", np.ones((2, 3), np.float32)),
    "a state misnamed": lambda head, tensors: tensors.update({"state/00": tensors.pop("state/0")}),
    "a state of float64": tensor_of("state/0", np.full((2, 3), 1e300)),
    "a tensor of no group": tensor_of("x", ONES),
    "a tensor without a name": tensor_of("", ONES),
}


@pytest.mark.parametrize("change", WRONG)
def test_wrong_content_with_a_right_checksum(change: str, file: Path) -> None:
    """Law: whoever can compute a checksum still cannot make charlm open what does not fit together."""
    head, tensors = parts_of_some_checkpoint(file)
    put(file, forged(head, tensors))
    load_checkpoint(file)
    WRONG[change](head, tensors)
    put(file, forged(head, tensors))
    message = refusal(CheckpointError, load_checkpoint, file)
    assert "checksum" not in message
    if change.startswith("format"):
        assert "reads format 1" in message


def test_wrong_checksums(file: Path) -> None:
    """Law: a checksum that is missing, or not a string, is refused."""
    head, tensors = parts_of_some_checkpoint(file)
    body = b"".join(array.tobytes() for array in tensors.values())
    values: list[Any] = [None, "", 0, [], {}, True, head["sha256"].upper(), "missing"]
    for value in values:
        changed = {name: entry for name, entry in head.items() if name != "sha256"}
        changed |= {} if value == "missing" else {"sha256": value}
        header = {"__metadata__": {"charlm": json.dumps(changed)}} | header_of(tensors)
        put(file, safetensors_file(header, body))
        assert "sha256" in (message := refusal(CheckpointError, load_checkpoint, file)) or "checksum" in message


@settings(max_examples=100)
@given(SEEDS)
def test_any_content_with_a_right_checksum(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: a checkpoint in which anything was changed, with a right checksum, is refused, or works."""
    file = tmp_path_factory.getbasetemp() / "any.safetensors"
    put(file, changed_checkpoint(whole, Random(seed)))
    refused_or(use, file)


# ------------------------------------------------------------------------------------------- files that fill the memory


def header_of_head(head: bytes) -> bytes:
    """A header whose metadata are that text, which must not contain quotes or backslashes."""
    return b'{"__metadata__":{"charlm":"' + head + b'"}}'


FILL = MOST_HEADER - 100
AMPLIFIERS: dict[str, Callable[[], bytes]] = {
    "header of spaces": lambda: b"{" + b" " * FILL + b"}",
    "header of brackets": lambda: b"[" * FILL,
    "header of empty lists": lambda: b'{"a":[' + b"[]," * (FILL // 3) + b"[]]}",
    "header of as many lists as are read": lambda: b'{"a":[' + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]}",
    "header of as many objects as are read": lambda: b'{"a":[' + b'{"a":0},' * (MOST_VALUES // 2 - 9) + b"0]}",
    "header of tensors": lambda: (
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(FILL // 62)) + b"}"
    ),
    "header of one wide string": lambda: header_of_head("\U0001f600".encode() + b"a" * (FILL - 50)),
    "header of a wide string, escaped": lambda: header_of_head(b"\\ud83d\\ude00" + b"a" * (FILL - 50)),
    "head of empty lists": lambda: header_of_head(b"[" + b"[]," * (FILL // 3 - 20) + b"[]]"),
    "head of as many lists as are read": lambda: header_of_head(b"[" + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]"),
    "head of numbers": lambda: header_of_head(b"[" + b"1.5e1," * (FILL // 7) + b"1]"),
    "head of one number": lambda: header_of_head(b"1" * (FILL - 50)),
    "head of one number with a point": lambda: header_of_head(b"1." + b"1" * (FILL - 50)),
    "head of one number that is too large": lambda: header_of_head(b"1" * (FILL - 50) + b".0"),
    "vocabulary that is wide": lambda: header_of_head(
        rb"{\"format\":1,\"sha256\":\"\",\"progress\":{},\"model\":{\"vocabulary\":500000},"
        rb"\"vocabulary\":\"\\ud83d\\ude00" + b"a" * (FILL - 200) + rb"\"}"
    ),
    "format that is long": lambda: header_of_head(rb"{\"format\":\"" + b"a" * (FILL - 100) + rb"\"}"),
}


def refused(file: Path) -> None:
    """Load a file, which is refused; without a limit of time, because tracing memory is slow."""
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(file)
    assert is_short_line(str(raised.value))


@pytest.mark.slow
@pytest.mark.parametrize("make", AMPLIFIERS)
def test_headers_that_fill_the_memory(make: str, file: Path) -> None:
    """Law: refused, with no more than 100 MB beyond the file's size."""
    put(file, safetensors_file(AMPLIFIERS[make]()))
    peak = peak_megabytes(refused, file)
    assert peak < MEGABYTES + file.stat().st_size / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_process_without_more_memory(tmp_path: Path) -> None:
    """Law: with no more memory than the file's size and 100 MB, the error is still one of charlm's, and soon."""
    for number, make in enumerate(AMPLIFIERS.values()):
        put(tmp_path / f"{number}.safetensors", safetensors_file(make()))
    at_little_memory(sorted(tmp_path.iterdir()))


# ------------------------------------------------------------------------------------------ found only when used


def sample_of(file: Path, length: int, temperature: float = 1.0) -> str:
    return "".join(load(file).sample("a", length=length, temperature=temperature))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_network_that_overflows(cell: str, file: Path) -> None:
    """Law: sampling and scoring raise DivergenceError instead of giving a character or a NaN."""
    spec = ModelSpec(5, 3, cell=cell, activation="relu")
    tensors = {f"params/{name}": np.full(shape, 3e38, np.float32) for name, shape in spec.shapes.items()}
    head = {"format": 1, "vocabulary": "abcd", "progress": {}, "model": {"vocabulary": 5, "hidden": 3, "cell": cell}}
    put(file, forged(head | {"model": head["model"] | {"activation": "relu"}}, tensors))  # type: ignore[operator]
    for temperature in (0.0, 1.0):
        assert "checkpoint" in refusal(DivergenceError, sample_of, file, 9, temperature)
    assert "checkpoint" in refusal(DivergenceError, load(file).score, "abcd")


def test_a_network_that_overflows_slowly(file: Path) -> None:
    """Law: the same if it takes a hundred characters, in texts of any length."""
    spec = ModelSpec(5, 3, cell="rnn", activation="relu")
    tensors = {f"params/{name}": np.full(shape, 1.0, np.float32) for name, shape in spec.shapes.items()}
    tensors["params/readout.W"] = np.eye(3, 5, dtype=np.float32) - 1
    head = {"format": 1, "vocabulary": "abcd", "progress": {}, "model": {"vocabulary": 5, "hidden": 3}}
    head["model"] |= {"cell": "rnn", "activation": "relu"}  # type: ignore[operator]
    put(file, forged(head, tensors))
    assert len(sample_of(file, 20)) == 20
    refusal(DivergenceError, sample_of, file, 200)
    for length in (200, 3000, 300_000):
        refusal(DivergenceError, load(file).score, "a" * length)
