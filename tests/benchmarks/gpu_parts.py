"""Checks on a graphics card whether the parts of training compute what they should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses
from torch import nn

from studio.engine.lora.function import adapted_linear
from studio.engine.models.attention import attend_packed, get_documents
from studio.engine.models.kernels import Kernel, load_kernel
from studio.engine.quant import hold
from studio.engine.train.loss import LogitRule, sum_cross_entropy
from tests.benchmarks.card import Report

KERNELS = ("varlen", "flash", "flex")
"""Attention kernels that are checked and measured where the device has them."""
_MOST_ERROR = 2e-2


def check_parts(device: torch.device, report: Report) -> list[str]:
    """Adds each part's error in bfloat16 against float64; returns the kernels that are exact.

    Errors are relative, the largest of result and gradients, forward and backward.
    """
    report.add("| part | error against float64 |", "|---|---|")
    _check(report, "adapted linear layer", partial(_check_linear, device))
    _check(report, "loss in tiles", partial(_check_loss, device))
    _check(report, "packed attention", partial(_check_attention, device))
    _check(report, "the same in windows", partial(_check_attention, device, None, 48))
    exact = []
    for name in find_kernels(device):
        plain = partial(_check_attention, device, load_kernel(name))
        is_exact = _check(report, f"packed attention, {name}", plain)
        _check(report, f"the same in windows, {name}", partial(plain, 48))
        exact += [name] if is_exact else []
    report.add("")
    return exact


def _check(report: Report, part: str, measure: Callable[[], float]) -> bool:
    def run() -> Iterator[str]:
        error = measure()
        if not error < _MOST_ERROR:
            raise ArithmeticError(f"its relative error is {error:.1e}")
        yield f"| {part} | {error:.1e} |"

    return report.attempt(part, run, columns=1)


def find_kernels(device: torch.device) -> list[str]:
    """Returns the attention kernels that ``device`` has."""
    return [
        name for name in KERNELS if load_kernel(name).find_obstacle(device, torch.bfloat16) is None
    ]


def _compare(run: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> float:
    """Returns the largest relative error of result and gradients of ``run``."""
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        leaves = [one.to(dtype).detach().requires_grad_() for one in inputs]
        output = run(*leaves)
        slope = torch.linspace(-1, 1, output.numel(), device=output.device).view(output.shape)
        output.backward(slope.to(output.dtype))
        results.append([output.detach(), *(one.grad for one in leaves)])
    return max(
        float((one.double() - other.double()).norm() / other.double().norm())
        for one, other in zip(*results, strict=True)
    )


def _draw(device: torch.device, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator).bfloat16().to(device)


def _check_linear(device: torch.device) -> float:
    weight = _draw(device, 384, 256)

    def run(x: torch.Tensor, lora_a: torch.Tensor, lora_b: torch.Tensor) -> torch.Tensor:
        base = nn.Linear(256, 384, bias=False, device=device, dtype=x.dtype)
        base.weight = nn.Parameter(weight.to(x.dtype), requires_grad=False)
        return adapted_linear(x, hold(base), lora_a, lora_b, 2.0)

    return _compare(run, [_draw(device, 200, 256), _draw(device, 16, 256), _draw(device, 384, 16)])


def _check_loss(device: torch.device) -> float:
    weight = _draw(device, 3000, 128) / 10
    targets = torch.arange(300, device=device)

    def run(hidden: torch.Tensor) -> torch.Tensor:
        head = nn.Linear(128, 3000, bias=False, device=device, dtype=hidden.dtype)
        head.weight = nn.Parameter(weight.to(hidden.dtype), requires_grad=False)
        return sum_cross_entropy(hidden, targets, head, LogitRule(), 128)[None]

    return _compare(run, [_draw(device, 300, 128)])


def _check_attention(
    device: torch.device, kernel: Kernel | None = None, window: int | None = None
) -> float:
    lengths = (70, 33, 121)

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if query.dtype == torch.float64:
            parts = [torch.split(one, lengths, dim=2) for one in (query, key, value)]
            return torch.cat([_attend_slowly(*one, window) for one in zip(*parts, strict=True)], 2)
        layer: Any = nn.Module()
        documents = get_documents(layer)
        documents.show(lengths)
        documents.kernel = kernel
        found = attend_packed(layer, query, key, value, None, sliding_window=window)[0]
        return found.transpose(1, 2)

    shapes = [(1, heads, sum(lengths), 64) for heads in (8, 2, 2)]
    return _compare(run, [_draw(device, *shape) for shape in shapes])


def _attend_slowly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int | None
) -> torch.Tensor:
    """Returns causal attention by the book, all scores at once."""
    at = torch.arange(query.shape[2], device=query.device)
    distance = at[:, None] - at[None, :]
    mask = (distance >= 0) & (distance < (window or len(at)))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
