"""A graphics card that is none: tensors compute on the processor and only claim to be on a card.

Numbers, gradients and files are real, so whole jobs run. Refused is what a card would refuse:
tensors of two places in one operation, a generator of another place, memory that is full, and the
reading of a copy that has not arrived. Noted is every time the processor waits for the card, and
memory that is given up while another stream still uses it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar
from unittest import mock

import pytest
import torch
import transformers.utils.import_utils
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.engine.pretend_streams import HOST, Marks, Stream

CPU, CARD = torch.device("cpu"), torch.device("cuda:0")
_aten = torch.ops.aten
_COPIES = (_aten.copy_.default, _aten._foreach_copy_.default)
_WAITS = (
    _aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default,
    _aten._unique2.default, _aten.equal.default, _aten.repeat_interleave.Tensor,
    _aten.bincount.default, _aten.unique_consecutive.default,
)  # fmt: skip
"""Their result, or its shape, is known to the processor only when the card is done."""
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
_TAKES_NUMBERS = (_aten.fill_.Tensor, _aten.index_put.default, _aten.index_put_.default)
"""Beside what is computed number by number: a single number may come from the processor."""
_DESCRIBES = (
    _aten.detach.default, _aten.empty_like.default, _aten.zeros_like.default,
    _aten.ones_like.default, _aten.full_like.default, _aten.new_empty.default,
    _aten.new_empty_strided.default, _aten.new_zeros.default, _aten.new_ones.default,
    _aten.new_full.default,
)  # fmt: skip
get_true_device = torch.Tensor.device.__get__
_empty_like, _empty_strided = torch.empty_like, torch.empty_strided


def get_place(tensor: Tensor) -> torch.device | None:
    """Returns where ``tensor`` claims to be; None where torch itself made it and nobody asked."""
    if get_true_device(tensor).type != "cpu":
        return torch.device(get_true_device(tensor))
    place: torch.device | None = vars(tensor.untyped_storage()).get("place", CPU)
    return place


class Generator(torch.Generator):
    """A generator that knows which device it was made for."""

    places: ClassVar[dict[int, torch.device]] = {}

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        cls.places[made._cdata] = normalise(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.places[self._cdata]


class PretendCard(TorchDispatchMode):
    """While it lasts, this machine seems to have cards of ``total_bytes`` each.

    ``waits`` are the places of the program where the processor waited for a card, ``faults`` what
    may go wrong unseen.
    """

    def __init__(
        self, total_bytes: int = 8 << 30, capability: tuple[int, int] = (8, 6), cards: int = 1
    ) -> None:
        if torch.backends.cuda.is_built():
            pytest.skip("a torch that is built for cards asks the driver past what is replaced")
        super().__init__()
        self.total_bytes, self.capability, self.cards = total_bytes, capability, cards
        self.waits: list[str] = []
        self.faults: list[str] = []
        self.chosen = 0
        self.forbids_waits = False
        self.share = 1.0
        self.used: dict[torch.device, int] = {}
        self.most: dict[torch.device, int] = {}
        self.random = {index: torch.Generator().get_state() for index in range(cards)}
        self._stack = ExitStack()

    def __enter__(self) -> PretendCard:
        from tests.engine.pretend_torch import list_patches

        for owner, name, value in list_patches(self):
            self._stack.enter_context(mock.patch.object(owner, name, value))
        # the general way of attention, not the kernels that only processors have
        self._stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()
        for known in vars(transformers.utils.import_utils).values():
            getattr(known, "cache_clear", lambda: None)()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = [one for one in tree_leaves((args, kwargs)) if is_real(one)]
        asked = kwargs.get("device")
        if asked is not None and asked.type == "cuda":  # by ``with torch.device``
            return self._build_there(func, args, kwargs, normalise(asked))
        place = self._find_place(func, given, args)
        if place is None or place.type != "cuda":
            for one in given if _reads(func) else ():
                touch(HOST, one)
            result = func(*args, **kwargs)
        else:
            result = self._run_on_card(func, args, kwargs, given, place)
        for one in tree_leaves(result):
            if is_real(one) and (not given or "place" not in vars(one.untyped_storage())):
                self.settle(one, place)
        return result

    def _build_there(self, func: Any, args: Any, kwargs: Any, place: torch.device) -> Tensor:
        seeded = torch.Tag.nondeterministic_seeded in func.tags
        with self.drawing(place) if seeded else ExitStack():
            made: Tensor = func(*args, **kwargs | {"device": CPU, "pin_memory": False})
        self.settle(made, place)
        return made

    def _run_on_card(
        self, func: Any, args: Any, kwargs: Any, given: list[Tensor], place: torch.device
    ) -> Any:
        generator = kwargs.get("generator")
        if generator is not None and Generator.places.get(generator._cdata, CPU) != place:
            raise RuntimeError(f"Expected a {place} device type for generator in {func}")
        stream, is_copy = Stream.of(place), func in _COPIES
        written = set() if is_copy else _find_written(func, args, kwargs)
        if is_copy:
            written = {id(one) for one in tree_leaves(args[0])}
        stream.tick()
        is_late = is_copy and bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        for one in given:
            is_far = get_place(one) in (None, CPU)
            is_pinned = vars(one.untyped_storage()).get("is_pinned", False)
            if not _reads(func):
                continue
            if not is_far or (is_late and is_pinned):
                touch(stream, one, writes=id(one) in written)
            elif is_late and id(one) in written:
                is_late = False  # the copy to memory that can be swapped out is waited for
        seeded = torch.Tag.nondeterministic_seeded in func.tags and generator is None
        with self.drawing(place) if seeded else ExitStack():
            if func is _aten.histc.default:  # of whole numbers, which only cards count
                result = func(args[0].double(), *args[1:], **kwargs).to(args[0].dtype)
            else:
                result = func(*args, **kwargs)
        crosses = len({get_place(one) for one in given} - {None}) > 1
        by_mask = func in _INDEXING and any(
            one is not None and (one.dtype == torch.bool or get_place(one) == CPU)
            for one in args[1]
        )
        sized = func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is not None
        if (is_copy and crosses and not is_late) or by_mask or (func in _WAITS and not sized):
            self.wait(str(func), stream)
        return result

    def _find_place(self, func: Any, given: list[Tensor], args: Any) -> torch.device | None:
        places = {get_place(one) for one in given} - {None}
        cards = {one for one in places if one is not None and one.type == "cuda"}
        if places == {CPU}:
            return CPU
        if len(places) > 1 and func not in _COPIES:
            free = tree_leaves(args[1]) if func in _INDEXING else []
            is_scalar = torch.Tag.pointwise in func.tags or func in _TAKES_NUMBERS
            strangers = [
                one
                for one in given
                if get_place(one) == CPU
                and not (is_scalar and one.ndim == 0)
                and not any(one is index for index in free)
            ]
            if strangers or len(cards) > 1:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found "
                    f"{sorted(map(str, places))} in {func} of {[tuple(t.shape) for t in given]}"
                )
        return next(iter(cards), None)

    def settle(self, tensor: Tensor, place: torch.device | None) -> None:
        """Lets ``tensor`` claim to be at ``place``."""
        storage = tensor.untyped_storage()
        if "leave" in vars(storage):
            storage.leave()
        storage.place = place
        if place is None or place.type != "cuda":
            return
        size = storage.nbytes()
        if self.used.get(place, 0) + size > self.share * self.total_bytes:
            storage.place = None
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
        self.used[place] = self.used.get(place, 0) + size
        self.most[place] = max(self.most.get(place, 0), self.used[place])
        storage.marks = Marks(Stream.of(place))
        storage.leave = weakref.finalize(
            storage, self._release, place, size, storage.marks, _find_line()
        )

    def _release(self, place: torch.device, size: int, marks: Marks, made: str) -> None:
        self.used[place] -= size
        if marks.is_in_use():
            self.faults.append(f"given up while another stream uses it: made at {made}")

    def wait(self, what: str, stream: Stream | None = None) -> None:
        """Notes that the processor waits until ``stream`` is done, all of them if None."""
        if self.forbids_waits:
            raise RuntimeError(f"called a synchronizing CUDA operation: {what}")
        HOST.meet(stream)
        self.waits.append(f"{_find_line()} {what}")

    @contextmanager
    def drawing(self, place: torch.device) -> Iterator[None]:
        """Lets random numbers be those of the card at ``place``."""
        own = torch.get_rng_state()
        torch.set_rng_state(self.random[place.index])
        try:
            yield
        finally:
            self.random[place.index] = torch.get_rng_state()
            torch.set_rng_state(own)


class Move(torch.autograd.Function):
    """Takes a tensor to another place, and its gradient back."""

    @staticmethod
    def forward(ctx: Any, card: Any, tensor: Tensor, place: torch.device, is_late: bool) -> Any:
        ctx.home = get_place(tensor) or CPU
        shape = _empty_like(tensor, device="meta")
        moved = _empty_strided(shape.size(), shape.stride(), dtype=tensor.dtype)
        card.settle(moved, place)
        moved.untyped_storage().is_pinned = is_late and place == CPU
        return moved.copy_(tensor, non_blocking=is_late)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, gradient.to(ctx.home), None, None


def normalise(device: Any) -> torch.device:
    found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if found.type == "cuda" and found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if found.type == "cpu" else found


def is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and get_true_device(value).type == "cpu"


def _reads(func: Any) -> bool:
    """Returns whether an operation looks at numbers, and not only at what describes them."""
    return not func.is_view and func not in _DESCRIBES


def _find_written(func: Any, args: Any, kwargs: Any) -> set[int]:
    found = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[index] if index < len(args) else kwargs.get(argument.name))
    return {id(one) for one in tree_leaves(found)}


def touch(stream: Stream, tensor: Tensor, *, writes: bool = False) -> None:
    storage = tensor.untyped_storage()
    if stream is not HOST and "marks" not in vars(storage):
        storage.marks = Marks(HOST)
    if "marks" in vars(storage):
        storage.marks.use(stream, writes=writes)


def _find_line() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/studio/engine/" in name or "/tests/benchmarks/" in name:
            return f"{name.rpartition('/studio/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
