"""What the automatic settings of a recipe become on a device, by the rules of ``auto``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.auto import (
    RoughSize,
    choose_checkpointing,
    choose_micro_batch_tokens,
    is_too_large,
)
from studio.core.memory.card import DeviceSpec
from studio.core.memory.recomputing import Recomputing
from studio.core.memory.rows import RowLengths
from studio.core.memory.weights import count_base_bytes, count_visiting_bytes
from studio.core.recipe.schema import Recipe

_NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_AUTO_PERCENTILE = 99
_ANSWER_SPREAD = 0.1
"""How much the trained share of one row may lie above the average of all rows."""


@dataclass(frozen=True)
class Settled:
    """Definite settings, and the micro-batch that needs the most memory.

    ``documents`` are the tokens of the rows in that micro-batch; ``rows`` the training rows after
    cutting. ``offloads``: what layers keep lies in the computer's memory; ``visits``: so do
    the frozen layers themselves, which visit the device in turn.
    """

    number_bytes: int
    recomputing: Recomputing
    micro_batch_tokens: int
    max_tokens: int
    documents: tuple[int, ...]
    supervised_tokens: int
    rows: RowLengths
    offloads: bool = False
    visits: bool = False

    @property
    def tokens(self) -> int:
        """The tokens of the largest micro-batch."""
        return sum(self.documents)


def settle(
    recipe: Recipe, anatomy: Anatomy, device: DeviceSpec, rows: RowLengths, trainable: int
) -> Settled:
    """Return the definite settings of ``recipe``; ``trainable`` counts the adapter's parameters."""
    number_bytes = get_number_bytes(recipe.base.dtype, device)
    context = anatomy.layers.context_tokens or rows.longest
    wish = recipe.data.max_tokens
    most = rows.get_percentile(_AUTO_PERCENTILE) if wish == "auto" else wish
    cut = rows.cut(min(most, context))
    free = device.free_bytes - 4 * trainable
    base_bytes = count_base_bytes(anatomy, recipe.base.quantisation, number_bytes)
    visits = choose_visits(recipe, device, base_bytes)
    if visits:
        form = recipe.base.quantisation
        base_bytes = count_visiting_bytes(anatomy, form, number_bytes, is_cpu=device.is_cpu)
    free -= base_bytes
    size = get_rough_size(anatomy, number_bytes)
    mode = recipe.train.checkpointing
    if mode == "auto":
        recomputing = choose_checkpointing(size, cut.longest, free, has_mlps=anatomy.has_mlps)
    else:
        recomputing = Recomputing.uniform(mode, size.layers)
    offloads = mode == "offload" and not device.is_cpu
    planned = Recomputing.uniform("all", size.layers) if offloads else recomputing
    tokens = recipe.train.micro_batch_tokens
    if tokens == "auto":
        tokens = choose_micro_batch_tokens(
            size, cut.longest, free, recomputing=planned, device=device.kind
        )
    documents = cut.fill_micro_batch(tokens, recipe.train.batch_sequences, packs=recipe.data.pack)
    total = sum(documents)
    supervised = total - len(documents)
    if recipe.data.supervise != "everything":
        # Long answers may come together, so the average alone would be too little for few rows.
        allowance = 1 + _ANSWER_SPREAD / math.sqrt(len(documents))
        share = min(1.0, allowance * rows.supervised_fraction)
        supervised = min(supervised, math.ceil(total * share))
    return Settled(
        number_bytes, recomputing, tokens, cut.longest, documents, supervised, cut, offloads,
        visits,
    )  # fmt: skip


def choose_visits(recipe: Recipe, device: DeviceSpec, base_bytes: int) -> bool:
    """Return whether the base stays in the computer's memory and its layers visit the device."""
    wish = recipe.base.offload
    if wish == "auto":
        return not device.is_cpu and is_too_large(base_bytes, device.free_bytes)
    return wish == "layers"


def get_number_bytes(dtype: str, device: DeviceSpec) -> int:
    """Return the bytes of a number in the format of the base: auto is 16 bits on recent cards."""
    if dtype == "auto":
        return 2 if device.computes_bfloat16 else 4
    return _NUMBER_BYTES[dtype]


def get_rough_size(anatomy: Anatomy, number_bytes: int) -> RoughSize:
    """Return the widths by which automatic settings are chosen."""
    return RoughSize(
        layers=anatomy.layers.layer_count,
        width=anatomy.width,
        query=anatomy.query,
        key=anatomy.key,
        inner=anatomy.inner * max(1, anatomy.experts_per_token),
        number_bytes=number_bytes,
    )
