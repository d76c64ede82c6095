"""Times 4-bit and 8-bit layers of this program and of bitsandbytes: unfolding, forward, backward.

Run: python tests/benchmarks/quant_speed.py [--out FILE.md] [--device cuda] [--rounds 15]

Every number is the least of some rounds in one thread (processor), the two sides in turn, so that
what else the machine does is left out of both. "Unfold" makes the whole weight in full size;
"forward" is the product with 256 rows, "backward" the gradient of those rows, "one row" what each
token of an answer needs. "Dense" is a plain layer with unquantised weights. On the processor the
goal is at most twice the time of bitsandbytes; on a card this program lets bitsandbytes unfold
where it proves exact.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1")

import torch
from torch import Tensor, nn

from studio.engine.held.buffer import borrow_buffer
from studio.engine.held.fast import run_self_test
from studio.engine.held.layer import QuantisedLinear
from studio.engine.quant import get_quantise

ROWS = 256
SHAPES = ((1024, 1024), (4096, 4096), (11008, 4096))
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
GOAL = 2.0
Work = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """One kind of work: milliseconds of this program, of bitsandbytes and of a plain layer.

    None: it cannot.
    """

    kind: str
    shape: tuple[int, int]
    dtype: str
    work: str
    ours: float
    theirs: float | None
    dense: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as long this program takes."""
        return None if not self.theirs else self.ours / self.theirs


def load_library() -> Any:
    """Returns bitsandbytes, None where it does not start."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import bitsandbytes
        except (ImportError, OSError, RuntimeError):
            return None
    return bitsandbytes


def build_ours(weight: Tensor, kind: str, dtype: torch.dtype) -> QuantisedLinear:
    """Returns a layer of this program."""
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer = QuantisedLinear(plain, get_quantise(kind), dtype, weight.device)
    layer.weight = nn.Parameter(weight)
    return layer


def build_theirs(library: Any, weight: Tensor, kind: str, dtype: torch.dtype) -> nn.Module:
    """Returns a layer of bitsandbytes with the same weights."""
    rows, columns = weight.shape
    if kind == "nf4":
        layer = library.nn.Linear4bit(
            columns, rows, bias=False, compute_dtype=dtype, compress_statistics=True,
            quant_type="nf4",
        )  # fmt: skip
        layer.weight = library.nn.Params4bit(
            weight.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
        )
    else:
        layer = library.nn.Linear8bitLt(columns, rows, bias=False, has_fp16_weights=False)
        layer.weight = library.nn.Int8Params(
            weight.cpu(), requires_grad=False, has_fp16_weights=False
        )
    module: nn.Module = layer.to(weight.device)
    return module


def build_dense(weight: Tensor, dtype: torch.dtype) -> nn.Linear:
    """Returns a plain layer with the same weights, in full size."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    return layer


def list_works(layer: Any, library: Any, kind: str, dtype: torch.dtype) -> dict[str, Work]:
    """Returns what is timed with one layer, by name."""
    device = next(layer.parameters()).device
    rows = torch.randn(ROWS, layer.in_features, dtype=dtype, device=device)
    needing = rows.clone().requires_grad_()
    gradient = torch.randn(ROWS, layer.out_features, dtype=dtype, device=device)

    def backward() -> None:
        layer(needing).backward(gradient)

    def answer() -> None:
        with torch.no_grad():
            layer(rows[:1])

    works: dict[str, Work] = {
        "forward": lambda: layer(rows), "forward and backward": backward, "one row": answer
    }  # fmt: skip
    if isinstance(layer, QuantisedLinear):
        held = layer.get_held()
        works["unfold"] = lambda: held.borrow(dtype)
    elif kind == "nf4" and hasattr(layer.weight, "quant_state"):
        state = layer.weight.quant_state
        is_card = device.type == "cuda"  # only there it fills memory that is given to it
        out = borrow_buffer(tuple(state.shape), dtype, device) if is_card else None
        state.dtype = dtype
        codes = layer.weight.data
        works["unfold"] = lambda: library.functional.dequantize_4bit(codes, state, out=out)
    return works


def time_in_turn(works: Sequence[Work | None], rounds: int) -> list[float | None]:
    """Returns the least milliseconds of each, measured in turn after one round to warm up."""
    found: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, times in zip(works, found, strict=True):
            if work is not None:
                seconds = _time_once(work)
                if number:
                    times.append(seconds * 1000)
    return [min(times) if times else None for times in found]


def _time_once(work: Work) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(library: Any, device: str, rounds: int, shapes: tuple[tuple[int, int], ...]) -> Any:
    """Yields the timings of all kinds, shapes and number formats."""
    for kind in ("nf4", "int8"):
        for shape in shapes:
            weight = torch.randn(shape, device=device) * 0.05
            for name, dtype in _DTYPES.items():
                ours = list_works(build_ours(weight, kind, dtype), library, kind, dtype)
                other = None if library is None else build_theirs(library, weight, kind, dtype)
                theirs = {} if other is None else list_works(other, library, kind, dtype)
                dense = list_works(build_dense(weight, dtype), library, kind, dtype)
                for work in ("unfold", "forward", "forward and backward", "one row"):
                    sides = [one.get(work) for one in (ours, theirs, dense)]
                    mine, other_time, plain = time_in_turn(sides, rounds)
                    yield Timing(kind, shape, name, work, mine or 0.0, other_time, plain)


def describe(timing: Timing) -> str:
    """Returns one line of the table."""
    rows, columns = timing.shape
    theirs, ratio, dense = (
        "—" if value is None else f"{value:.2f}"
        for value in (timing.theirs, timing.ratio, timing.dense)
    )
    words = f"{timing.kind}, {rows:,} x {columns:,}, {timing.dtype}, {timing.work}"
    return f"| {words} | {timing.ours:.2f} | {theirs} | {ratio} | {dense} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    library = load_library()
    lines = [
        "| work | this program, ms | bitsandbytes, ms | times | dense, ms |",
        "|---|---|---|---|---|",
    ]
    timings = []
    for timing in measure(library, arguments.device, arguments.rounds, SHAPES[: arguments.shapes]):
        timings.append(timing)
        lines.append(describe(timing))
        print(lines[-1], flush=True)
    unfolds = [t.ratio for t in timings if t.work == "unfold" and t.ratio is not None]
    if unfolds:
        lines += ["", f"Unfolding takes at most {max(unfolds):.2f} times as long (goal {GOAL:g})."]
        print(lines[-1])
    if arguments.out:
        test = run_self_test(torch.device(arguments.device))
        version = getattr(library, "__version__", "not there")
        text = "\n".join(lines)
        arguments.out.write_text(
            f"# Layers in few bits, {arguments.device}\n\ntorch {torch.__version__}, bitsandbytes "
            f"{version} (self-test: {test.words}), 1 thread, least of {arguments.rounds} rounds "
            f"in turn.\n\n{text}\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
