"""Which number format each tensor of a file gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from studio.engine.export.gguf.numbers import Format, fits

_F32_ENDS = ("_norm.weight", "ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")
_FALLBACKS = {Format.Q4_K: Format.Q5_0, Format.Q5_K: Format.Q5_1, Format.Q6_K: Format.Q8_0}
_BLOCK = re.compile(r"^blk\.(\d+)\.")


@dataclass(frozen=True)
class Recipe:
    """A kind of file: its number in the header and the format of most tensors.

    ``mixes`` are files in which some tensors get a better format, as llama.cpp chooses them.
    """

    file_type: int
    main: Format
    mixes: bool = True


RECIPES: Mapping[str, Recipe] = {
    "f32": Recipe(0, Format.F32, mixes=False),
    "f16": Recipe(1, Format.F16, mixes=False),
    "bf16": Recipe(32, Format.BF16, mixes=False),
    "q8_0": Recipe(7, Format.Q8_0, mixes=False),
    "q4_0": Recipe(2, Format.Q4_0),
    "q4_1": Recipe(3, Format.Q4_1),
    "q5_0": Recipe(8, Format.Q5_0),
    "q5_1": Recipe(9, Format.Q5_1),
    "q4_k_m": Recipe(15, Format.Q4_K),
    "q5_k_m": Recipe(17, Format.Q5_K),
    "q6_k": Recipe(18, Format.Q6_K),
}


def choose_format(
    name: str, shape: tuple[int, ...], recipe: Recipe, layer_count: int, *, is_output: bool
) -> Format:
    """Returns the format of the tensor ``name`` of ``shape`` (columns last).

    ``is_output`` marks the table that scores the next token.
    Source: the choices of llama.cpp's quantiser, without an importance matrix.
    """
    if len(shape) < 2 or name.endswith(_F32_ENDS):
        return Format.F32
    kind = recipe.main
    if recipe.mixes and is_output:
        kind = Format.Q6_K if fits(shape[-1], Format.Q6_K) else Format.Q8_0
    elif recipe.mixes and kind in (Format.Q4_K, Format.Q5_K):
        kind = _improve(name, kind, layer_count)
    if not fits(shape[-1], kind):
        kind = _FALLBACKS.get(kind, kind)
    return kind if fits(shape[-1], kind) else Format.F16


def _improve(name: str, kind: Format, layer_count: int) -> Format:
    """Returns the format within a mixed file: values and outputs suffer most from rounding."""
    match = _BLOCK.match(name)
    if match is None or not re.search(r"attn_(v|qkv)\.weight|ffn_down", name):
        return kind
    layer, eighth = int(match[1]), layer_count // 8
    is_edge = layer < eighth or layer >= 7 * layer_count // 8
    return Format.Q6_K if is_edge or (layer - eighth) % 3 == 2 else kind
