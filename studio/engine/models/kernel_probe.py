"""Chooses who computes the attention of packed rows: only who gives the plain path's results."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.engine.models.attention import (
    PACKED,
    Documents,
    PackingUnsupported,
    attend_packed,
    attention_of,
    get_documents,
    packed_documents,
)
from studio.engine.models.body import make_probe_ids
from studio.engine.models.capabilities import get_head_sizes
from studio.engine.models.kernels import Kernel, load_kernels
from studio.engine.models.quiet import quiet_transformers

_LENGTHS = (7, 33, 5, 64, 20)
_HEAD_LENGTHS = (130, 9, 64)
_PROBE_WINDOW = 48
_TOLERANCE = {torch.float32: 2e-4}
_NARROW_TOLERANCE = 4e-2


@dataclass(frozen=True)
class KernelChoice:
    """``value`` is that of ``base.attention``; ``refused`` says why a wish could not be met."""

    value: str
    why: str
    refused: str = ""


def choose_kernel(model: PreTrainedModel, wish: str) -> KernelChoice:
    """Returns who computes the attention of ``model`` from now on, as ``base.attention`` asks.

    Every candidate is compared with the plain path: the logits of packed random documents, and
    the gradients of one attention. The first one that agrees is taken.
    """
    documents = get_documents(model)
    documents.kernel = None
    reasons = []
    for kernel in load_kernels(wish):
        reason = kernel.find_obstacle(model.device, model.dtype)
        if reason is None:
            reason = _compare(model, documents, kernel)
        if reason is None:
            documents.kernel = kernel
            value = "flex" if wish == "flex" else "flash"
            return KernelChoice(value, f"{kernel.LABEL}: it gives the same results here")
        reasons.append(f"{kernel.LABEL}: {reason}")
    why = "torch's own, on every device"
    return KernelChoice("sdpa", why, "" if wish in ("auto", "sdpa") else "; ".join(reasons))


def _compare(model: PreTrainedModel, documents: Documents, kernel: Kernel) -> str | None:
    """Returns why ``kernel`` cannot be trusted with ``model``, None if it can."""
    was_training = model.training
    model.eval()
    try:
        expected = _get_logits(model)
        documents.kernel = kernel
        difference = _get_difference(_get_logits(model), expected)
        documents.kernel = None
        difference = max(difference, _compare_gradients(model, kernel))
    except torch.OutOfMemoryError:
        raise
    except (
        PackingUnsupported, TypeError, ValueError, RuntimeError, AttributeError, KeyError,
        ImportError, AssertionError, OSError,
    ) as error:  # fmt: skip
        # Whatever a foreign kernel stumbles over, the answer is the same: the plain path.
        words = str(error).strip().splitlines()
        return f"it failed ({words[0][:120] if words else type(error).__name__})"
    finally:
        documents.kernel = None
        model.train(was_training)
    if difference <= _TOLERANCE.get(model.dtype, _NARROW_TOLERANCE):
        return None
    return f"its results differ by {difference:.1%}"


@torch.no_grad()
def _get_logits(model: PreTrainedModel) -> Tensor:
    ids = make_probe_ids(model, sum(_LENGTHS))
    positions = torch.cat([torch.arange(count) for count in _LENGTHS])[None].to(model.device)
    with quiet_transformers(), attention_of(model, PACKED), packed_documents(model, _LENGTHS):
        logits: Tensor = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    return logits.float()


def _compare_gradients(model: PreTrainedModel, kernel: Kernel) -> float:
    """Returns the largest relative difference of result and gradients of one attention."""
    found = [_run_head(model, one) for one in (None, kernel)]
    return max(_get_difference(b, a) for a, b in zip(*found, strict=True))


def _run_head(model: PreTrainedModel, kernel: Kernel | None) -> list[Tensor]:
    config = model.config.get_text_config()
    heads = get_head_sizes(config)
    window = _PROBE_WINDOW if getattr(config, "sliding_window", None) else None
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(1, count, sum(_HEAD_LENGTHS), heads.width, generator=generator)
        .to(model.device, model.dtype)
        .requires_grad_()
        for count in (heads.count, heads.key_count, heads.key_count)
    ]
    holder = torch.nn.Module()
    documents = get_documents(holder)
    documents.show(_HEAD_LENGTHS)
    documents.kernel = kernel
    query, key, value = inputs
    output, _ = attend_packed(holder, query, key, value, None, sliding_window=window)
    slope = torch.linspace(-1, 1, output.numel(), device=output.device).view(output.shape)
    output.backward(slope.to(output.dtype))  # type: ignore[no-untyped-call]  # torch's own
    return [output.detach(), *(one.grad for one in inputs if one.grad is not None)]


def _get_difference(found: Tensor, expected: Tensor) -> float:
    size = float(expected.float().abs().max()) + 1e-6
    return float((found.float() - expected.float()).abs().max()) / size
