"""Bytes that the layers keep between the forward and the backward pass, by closed formulas.

The formulas say what torch really keeps for the model code of transformers with our adapted
layers; tests compare them with torch's own account of saved tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.auto import MOST_SPARED_SHARE
from studio.core.weights.matching import ChosenModule, get_part

_OUTPUTS = frozenset(
    {"o_proj", "out_proj", "dense", "c_proj", "wo", "down_proj", "dense_4h_to_h", "fc2", "w2",
     "fc_out"}
)  # fmt: skip
_PIECE_COPIES, _CAPPED_PIECE_COPIES = 1, 3
"""Pieces of 32-bit logits alive at once beside the one tile, which the loss turns in place."""
_CPU_PIECE_BYTES, _CARD_PIECE_BYTES = 1 << 20, 64 << 20
_MOST_CPU_ROWS = 384
_BLOCK_ROWS = 512
"""Rows that a joined feed-forward part computes at once on the processor."""
LARGEST_KEPT_BYTES = 3 << 20
"""Freed pieces above this size go back to the system while training on the processor."""
_GAPS_KEPT, _GAPS_RECOMPUTED = 3.5, 4.2
"""Lost heap in layers' worth of intermediate results, without and with recomputing."""


@dataclass
class AdaptedLayer:
    """Which inputs the adapted modules of one layer keep, and the sum of their ranks.

    ``mlp_ranks`` is the part of ``ranks`` that lies in the MLP. ``is_joined``: a gated MLP is
    computed in one function, which keeps gate and up alone.
    """

    keeps_attention_input: bool = False
    keeps_attention_output: bool = False
    keeps_mlp_input: bool = False
    keeps_mlp_output: bool = False
    ranks: int = 0
    mlp_ranks: int = 0
    is_joined: bool = True


@dataclass(frozen=True)
class AdaptedLayers:
    """The adapted layers by number. ``first`` is the lowest: nothing is kept below it."""

    layers: Mapping[int, AdaptedLayer] = field(default_factory=dict)
    first: int = 0

    @classmethod
    def of(
        cls, anatomy: Anatomy, chosen: Sequence[ChosenModule], *, is_joined: bool = True
    ) -> AdaptedLayers:
        """Return what the modules that get an adapter keep, layer by layer."""
        layers: dict[int, AdaptedLayer] = {}
        has_outside = False
        for item in chosen:
            number = anatomy.layers.by_name[item.name].layer
            if number is None:
                has_outside = True
                continue
            layer = layers.setdefault(number, AdaptedLayer(is_joined=is_joined))
            is_output = item.name.rpartition(".")[2] in _OUTPUTS
            part = "attention" if get_part(item.name) == "attention" else "mlp"
            setattr(layer, f"keeps_{part}_{'output' if is_output else 'input'}", True)
            layer.ranks += item.rank
            layer.mlp_ranks += item.rank if part == "mlp" else 0
        return cls(layers, 0 if has_outside else min(layers, default=0))


@dataclass(frozen=True)
class Working:
    """How numbers are held while computing: bytes of a number, and the kind of device.

    ``unfolds``: the base is held in few bits, so that all rows are computed while a matrix is there
    in full size.
    """

    number_bytes: int
    is_cpu: bool
    unfolds: bool = False

    @property
    def divides_rows(self) -> bool:
        """Whether a joined feed-forward part works on some rows at a time."""
        return self.is_cpu and not self.unfolds

    @property
    def attention_bytes(self) -> int:
        """Bytes of a number inside attention, which the processor computes in 32 bits."""
        return 4 if self.is_cpu else self.number_bytes


def count_layer_bytes(
    anatomy: Anatomy,
    layer: AdaptedLayer,
    documents: Sequence[int],
    working: Working,
    *,
    keeps_mlp: bool = True,
) -> int:
    """Return the bytes one layer keeps for packed documents of these lengths (in tokens).

    Without ``keeps_mlp`` its MLP keeps only its input and is computed again.
    """
    size, tokens = working.number_bytes, sum(documents)
    statistics = 4 if anatomy.upcasts_norms else 8
    kept = anatomy.norm_inputs * anatomy.width * size + anatomy.norms * statistics
    if anatomy.head_norm_width:
        kept += anatomy.head_norm_width * size + 4 * (anatomy.heads + anatomy.key_heads)
    inputs = layer.keeps_attention_input + (layer.keeps_mlp_input or not keeps_mlp)
    kept += (min(1, inputs) if anatomy.norms == 1 else inputs) * anatomy.width * size
    kept += (layer.ranks if keeps_mlp else layer.ranks - layer.mlp_ranks) * size
    kept += _count_attention(anatomy, layer, documents, working)
    kept += count_mlp_bytes(anatomy, layer, size) if keeps_mlp else 0
    return kept * tokens + _count_pairs(anatomy, documents, working)


def count_kept_bytes(
    anatomy: Anatomy,
    adapted: AdaptedLayers,
    documents: Sequence[int],
    working: Working,
    *,
    keeps_mlp: bool = True,
    supervised_tokens: int | None = None,
) -> int:
    """Return the bytes that all layers together keep; layers below the first adapted keep none.

    ``supervised_tokens`` are all that the last layer computes behind its attention; None = all.
    """
    count = anatomy.layers.layer_count - adapted.first
    plain = AdaptedLayer()
    kinds = [adapted.layers.get(adapted.first + index, plain) for index in range(count)]
    sizes: dict[tuple[bool | int, ...], int] = {}  # most layers are alike
    total = 0
    for kind in kinds:
        key = (*vars(kind).values(),)
        if key not in sizes:
            sizes[key] = count_layer_bytes(anatomy, kind, documents, working, keeps_mlp=keeps_mlp)
        total += sizes[key]
    if kinds and not kinds[0].keeps_attention_input:
        # What the attention of the first layer reads needs no gradient.
        total -= sum(documents) * _count_attention(anatomy, plain, documents, working)
        if kinds[0].keeps_attention_output and _joins_attention(anatomy, documents, working):
            total += sum(documents) * anatomy.query * working.number_bytes
        total -= _count_pairs(anatomy, documents, working)
    if kinds and supervised_tokens is not None:
        total -= count_spared_bytes(
            anatomy, kinds[-1], documents, supervised_tokens, working, keeps_mlp=keeps_mlp
        )
    return total


def count_spared_bytes(
    anatomy: Anatomy,
    layer: AdaptedLayer,
    documents: Sequence[int],
    supervised_tokens: int,
    working: Working,
    *,
    keeps_mlp: bool = True,
) -> int:
    """Return what the last layer does not keep because nobody reads its other rows.

    Behind the attention it computes supervised rows alone; for them its first norm runs again.
    """
    tokens = sum(documents)
    if not anatomy.spares_rows or supervised_tokens > MOST_SPARED_SHARE * tokens:
        return 0
    size = working.number_bytes
    behind = (anatomy.norm_inputs - 1) * anatomy.width * size
    behind += (
        (anatomy.norms > 1 and (layer.keeps_mlp_input or not keeps_mlp)) * anatomy.width * size
    )
    behind += count_mlp_bytes(anatomy, layer, size) + layer.mlp_ranks * size if keeps_mlp else 0
    again = supervised_tokens * anatomy.width * size
    if layer.keeps_attention_output and _copies_attention(anatomy, documents, working):
        behind += anatomy.query * size
    elif layer.keeps_attention_output:
        again += supervised_tokens * anatomy.query * size  # the rows are picked from what is kept
    return max(0, behind * (tokens - supervised_tokens) - again)


def _count_attention(
    anatomy: Anatomy, layer: AdaptedLayer, documents: Sequence[int], working: Working
) -> int:
    is_joined = _joins_attention(anatomy, documents, working)
    query, key = anatomy.query, anatomy.key
    size = working.number_bytes if is_joined else working.attention_bytes
    if anatomy.caps_scores:
        key = query  # keys and values are repeated for every head
    kept = (2 * query + 2 * key) * size + 4 * anatomy.heads
    is_upcast = size != working.number_bytes
    if anatomy.has_fused_attention and anatomy.rotates and not is_upcast:
        kept += (query + key) * size  # the values hold on to the matrix they are a part of
    if layer.keeps_attention_output and _copies_attention(anatomy, documents, working):
        kept += query * working.number_bytes
    return kept


def _joins_attention(anatomy: Anatomy, documents: Sequence[int], working: Working) -> bool:
    """Return whether one function attends to all documents and keeps nothing twice."""
    has_window = anatomy.window is not None and max(documents, default=0) > anatomy.window
    return working.is_cpu and not anatomy.caps_scores and not has_window


def _copies_attention(anatomy: Anatomy, documents: Sequence[int], working: Working) -> bool:
    """Return whether what the attention gives out is copied before its last projection."""
    if _joins_attention(anatomy, documents, working):
        return False
    is_upcast = working.attention_bytes != working.number_bytes
    return len(documents) > 1 or anatomy.joins_rotary or is_upcast


def count_mlp_bytes(anatomy: Anatomy, layer: AdaptedLayer, size: int) -> int:
    """Return the bytes per token that the MLP of one layer keeps, numbers being ``size`` bytes."""
    inner = anatomy.inner
    if anatomy.joins_mlp and layer.is_joined:
        return 2 * inner * size
    if anatomy.experts_per_token:
        return anatomy.experts_per_token * ((3 * inner + anatomy.width) * size + 32)
    copies = anatomy.kept_by_activation + (2 if anatomy.is_gated else 0)
    return inner * size * (copies + _keeps_mlp_output(anatomy, layer))


def _keeps_mlp_output(anatomy: Anatomy, layer: AdaptedLayer) -> bool:
    """Return whether what the last projection of the MLP reads is kept; relu keeps it itself."""
    return layer.keeps_mlp_output or anatomy.kept_by_activation == 0


def _count_pairs(anatomy: Anatomy, documents: Sequence[int], working: Working) -> int:
    """Return what grows with the square of a document: the scores of capped attention."""
    if not anatomy.caps_scores:
        return 0
    pairs = sum(length * length for length in documents)
    return 2 * anatomy.heads * working.attention_bytes * pairs


def count_rest_bytes(
    anatomy: Anatomy, tokens: int, supervised_tokens: int, working: Working
) -> int:
    """Return what is kept outside the layers: rotary tables and the gradient of the last state."""
    rotary = 2 * anatomy.head * working.number_bytes if anatomy.rotates else 0
    return tokens * rotary + supervised_tokens * anatomy.width * working.number_bytes


def count_backward_bytes(
    anatomy: Anatomy, layer: AdaptedLayer, documents: Sequence[int], working: Working
) -> int:
    """Return what the backward pass of one layer needs besides everything that is kept."""
    size, tokens = working.number_bytes, sum(documents)
    if anatomy.joins_mlp:
        rows = min(tokens, _BLOCK_ROWS) if working.divides_rows else tokens
        passing = 5 * anatomy.inner * rows + 4 * anatomy.width * tokens
    else:
        # The gradient of a product beside those of its factors; what was given on is free by then.
        gradients = 3 - _keeps_mlp_output(anatomy, layer)
        passing = tokens * (gradients * anatomy.inner + 4 * anatomy.width)
    longest = max(documents, default=0)
    pairs = longest * longest
    if anatomy.caps_scores:
        square = 3 * anatomy.heads * working.attention_bytes * pairs
    else:
        has_window = anatomy.window is not None and longest > anatomy.window
        square = (1 + working.attention_bytes) * pairs if has_window else 0
    return passing * size + square


def count_heap_gaps(
    anatomy: Anatomy,
    layer: AdaptedLayer,
    documents: Sequence[int],
    working: Working,
    *,
    recomputes: bool,
) -> int:
    """Return what the processor's heap keeps of freed blocks and cannot use again.

    Larger blocks than ``LARGEST_KEPT_BYTES`` go back to the system at once; beside them half of
    what the largest blocks that stay would lose was measured. The factors are those of Linux
    (glibc), see tests/benchmarks/memory_forecast.py.
    """
    tokens, number = sum(documents), working.number_bytes
    # What no adapter keeps comes and goes all the same, and leaves the same gaps.
    layer = replace(
        layer,
        keeps_attention_input=True,
        keeps_attention_output=True,
        keeps_mlp_input=True,
        keeps_mlp_output=True,
    )
    outer = min(tokens, LARGEST_KEPT_BYTES // (number * anatomy.width))
    inner = min(tokens, LARGEST_KEPT_BYTES // (number * anatomy.inner))
    outer //= 1 if outer == tokens else 2
    if inner < tokens and not (anatomy.joins_mlp and layer.is_joined):
        inner = 0  # only a joined feed-forward part works in smaller blocks, which stay
    mlp = count_mlp_bytes(anatomy, layer, number)
    size = count_layer_bytes(anatomy, layer, documents, working) * outer // max(1, tokens)
    size -= mlp * (outer - min(inner, outer))
    return round(size * (_GAPS_RECOMPUTED if recomputes else _GAPS_KEPT))


def count_tile_rows(vocabulary: int, supervised_tokens: int, *, is_cpu: bool) -> int:
    """Return how many rows of logits the loss computes at once, as the engine chooses them."""
    room, least = (64 << 20, 64) if is_cpu else (256 << 20, 512)
    most = _MOST_CPU_ROWS if is_cpu else supervised_tokens
    return min(supervised_tokens, most, max(least, room // (4 * vocabulary)))


def count_loss_bytes(anatomy: Anatomy, supervised_tokens: int, working: Working) -> int:
    """Return what the loss needs at its highest point: one tile of logits and its pieces.

    The tile is in the head's own number format. Of wider numbers only pieces exist, as of capped
    ones.
    """
    rows = count_tile_rows(anatomy.vocabulary, supervised_tokens, is_cpu=working.is_cpu)
    size = working.number_bytes
    hidden = 2 * supervised_tokens * anatomy.width * size
    copies = _PIECE_COPIES if size < 4 else 0
    copies = _CAPPED_PIECE_COPIES if anatomy.caps_logits else copies
    most = max(4 * anatomy.vocabulary, _CPU_PIECE_BYTES if working.is_cpu else _CARD_PIECE_BYTES)
    piece = min(4 * rows * anatomy.vocabulary, most)
    return rows * anatomy.vocabulary * size + copies * piece + hidden
