"""What the automatic settings of a recipe become on a device, decided as the engine decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.rows import RowLengths
from studio.core.memory.weights import count_base_bytes
from studio.core.recipe.schema import Recipe

_NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_MOST_TOKENS = {"cpu": 4096, "cuda": 16384}
_SHARE_OF_FREE_MEMORY = 0.5
_AUTO_PERCENTILE = 99


@dataclass(frozen=True)
class Settled:
    """Definite settings, and the micro-batch that needs the most memory.

    ``documents`` are the tokens of the rows in that micro-batch; ``rows`` the training rows after
    cutting.
    """

    number_bytes: int
    checkpointing: Literal["none", "mlp", "all"]
    micro_batch_tokens: int
    max_tokens: int
    documents: tuple[int, ...]
    supervised_tokens: int
    rows: RowLengths

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
    free -= count_base_bytes(anatomy, recipe.base.quantisation, number_bytes)
    room = max(0, math.floor(free * _SHARE_OF_FREE_MEMORY))
    per_token = count_rough_bytes(anatomy, number_bytes)
    mode = recipe.train.checkpointing
    checkpointing: Literal["none", "mlp", "all"]
    if mode != "auto":
        checkpointing = mode
    elif per_token * cut.longest <= room:
        checkpointing = "none"
    elif anatomy.has_mlps and count_rough_bytes(anatomy, number_bytes, "mlp") * cut.longest <= room:
        checkpointing = "mlp"
    else:
        checkpointing = "all"
    at_once = recipe.train.micro_batch_tokens
    if at_once == "auto":
        each = max(1, count_rough_bytes(anatomy, number_bytes, checkpointing))
        tokens = max(cut.longest, min(_MOST_TOKENS[device.kind], room // each))
    else:
        tokens = at_once
    documents = cut.fill_micro_batch(tokens, recipe.train.batch_sequences, packs=recipe.data.pack)
    total = sum(documents)
    supervised = total - len(documents)
    if recipe.data.supervise != "everything":
        # The longest answers may come together, so the average alone would be too little.
        share = min(1.0, 1.25 * rows.supervised_fraction)
        supervised = min(supervised, math.ceil(total * share))
    return Settled(number_bytes, checkpointing, tokens, cut.longest, documents, supervised, cut)


def get_number_bytes(dtype: str, device: DeviceSpec) -> int:
    """Return the bytes of a number in the format of the base: auto is 16 bits on recent cards."""
    if dtype == "auto":
        return 2 if device.computes_bfloat16 else 4
    return _NUMBER_BYTES[dtype]


def count_rough_bytes(anatomy: Anatomy, number_bytes: int, checkpointing: str = "none") -> int:
    """Return the rule of thumb by which automatic settings are chosen, in bytes per token."""
    numbers = 2 * anatomy.width + 2 * anatomy.query + 2 * anatomy.key
    if checkpointing != "mlp":
        numbers += 2 * anatomy.inner
    size = anatomy.layers.layer_count * 2 * numbers * number_bytes
    # one input per layer and one layer at a time
    return size // 8 if checkpointing == "all" else size
