"""What torch's functions, methods and questions about cards say while a card is pretended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._device import _device_constructors

from tests.engine.pretend_card import (
    CPU,
    Generator,
    Move,
    PretendCard,
    get_place,
    get_true_device,
    is_real,
    normalise,
    touch,
)
from tests.engine.pretend_streams import HOST, Event, Stream

_BUILDERS = (
    "arange", "empty", "empty_strided", "eye", "full", "linspace", "ones", "rand", "randint",
    "randn", "randperm", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
    "empty_like", "full_like", "ones_like", "rand_like", "randn_like", "randint_like", "zeros_like",
)  # fmt: skip
_device_constructors()  # keeps torch's own functions from now on, and not those that stand in
_AUTOCAST = ("autocast", "is_autocast_enabled", "get_autocast_dtype")
_to, _group_tensors = torch.Tensor.to, torch._C._group_tensors_by_device_and_dtype


def list_patches(card: PretendCard) -> list[tuple[Any, str, Any]]:
    """Returns what has another value while a card is pretended: owner, name, value."""
    return [
        *((torch, name, _build_builder(card, name)) for name in _BUILDERS),
        *((torch, name, _build_converter(name)) for name in ("as_tensor", "asarray")),
        *((torch.Tensor, name, value) for name, value in _list_methods(card).items()),
        *((torch.cuda, name, value) for name, value in _list_queries(card).items()),
        *((torch, name, _as_processor(name)) for name in _AUTOCAST),
        (torch.amp, "autocast", _as_processor("autocast")),
        (torch, "Generator", Generator),
        (torch._C, "_group_tensors_by_device_and_dtype", _group),
    ]


def _as_processor(name: str) -> Callable[..., Any]:
    """Returns a function of torch that takes a card for the processor."""
    original = getattr(torch, name)

    def ask(*args: Any, **kwargs: Any) -> Any:
        here = {key: "cpu" if one == "cuda" else one for key, one in kwargs.items()}
        return original(*("cpu" if one == "cuda" else one for one in args), **here)

    return ask


def _group(lists: Any, with_indices: bool = False) -> Any:
    """Returns torch's groups of tensors, under the places that these claim to be at."""
    groups = _group_tensors(lists, with_indices)
    return {(found[0][0][0].device, key[1]): found for key, found in groups.items()}


def _build_builder(card: PretendCard, name: str) -> Callable[..., Tensor]:
    original = getattr(torch, name)

    def build(*args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        place = None if device is None else normalise(device)
        if place is not None:
            kwargs["device"] = place if place.type not in ("cpu", "cuda") else CPU
        draws = place is not None and place.type == "cuda" and kwargs.get("generator") is None
        with card.drawing(place) if draws else ExitStack():
            made = original(*args, **kwargs)
        if not is_real(made) or (place is None and name.endswith("_like")):
            return made
        if place is None:
            like = args[0] if args and isinstance(args[0], Tensor) else made
            place = get_place(like) or CPU
        generator = kwargs.get("generator")
        if generator is not None and generator.device != place:
            raise RuntimeError(f"Expected a {place} device type for generator in {name}")
        card.settle(made, place)
        if name == "tensor" and place != CPU:
            card.wait("torch.tensor", Stream.of(place))
        made.untyped_storage().is_pinned = pin_memory
        return made

    return build


def _build_converter(name: str) -> Callable[..., Tensor]:
    original = getattr(torch, name)

    def convert(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        made = original(*args, **kwargs)
        return made if device is None else made.to(device)

    return convert


def _build_move(card: PretendCard) -> Callable[..., Tensor]:
    def move(self: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, is_late, layout = torch._C._nn._parse_to(*args, **kwargs)
        place, here = None if device is None else normalise(device), get_place(self)
        dtype = dtype or self.dtype
        options: dict[str, Any] = {} if layout is None else {"memory_format": layout}
        if not is_real(self) or (place is not None and place.type not in ("cpu", "cuda")):
            options |= {"copy": copy, "non_blocking": is_late}
            return _to(self, place or get_true_device(self), dtype, **options)
        if here is None and place is not None:
            card.settle(self, place)
        if place is None or here in (None, place):
            return _to(self, dtype, copy=copy, **options)
        return Move.apply(card, _to(self, dtype, **options), place, is_late)

    return move


def _build_reader(card: PretendCard, name: str) -> Callable[..., Any]:
    original = getattr(torch.Tensor, name)

    def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        place = get_place(self)
        if place is not None and place.type == "cuda":
            if name != "tolist":
                raise TypeError(f"can't convert {place} device type tensor to numpy.")
            card.wait(name, Stream.of(place))
        elif is_real(self):
            touch(HOST, self)
        return original(self, *args, **kwargs)

    return read


def _pin(tensor: Tensor) -> Tensor:
    kept = tensor.clone()
    kept.untyped_storage().is_pinned = True
    return kept


def _record(tensor: Tensor, stream: Stream) -> None:
    tensor.untyped_storage().marks.used.pop(stream, None)


def _list_methods(card: PretendCard) -> dict[str, Any]:
    return {
        "to": _build_move(card),
        "cpu": lambda self: self.to("cpu"),
        "cuda": lambda self, device="cuda": self.to(device),
        "device": property(lambda self: get_place(self) or CPU),
        "is_cuda": property(lambda self: (get_place(self) or CPU).type == "cuda"),
        "pin_memory": _pin,
        "is_pinned": lambda self: vars(self.untyped_storage()).get("is_pinned", False),
        "record_stream": _record,
        **{name: _build_reader(card, name) for name in ("tolist", "numpy", "__array__")},
    }


def _list_queries(card: PretendCard) -> dict[str, Any]:
    major, minor = card.capability
    properties = SimpleNamespace(total_memory=card.total_bytes, major=major, minor=minor)
    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: card.cards,
        "current_device": lambda: card.chosen,
        "set_device": lambda device: setattr(card, "chosen", normalise(device).index),
        "get_device_name": lambda _=None: "Pretend Card",
        "get_device_capability": lambda _=None: card.capability,
        "get_device_properties": lambda _=None: properties,
        "is_bf16_supported": lambda including_emulation=True: including_emulation or major >= 8,
        "set_sync_debug_mode": lambda mode: setattr(card, "forbids_waits", mode == "error"),
        "synchronize": lambda device=None: _synchronise(card, _at(device)),
        "Stream": Stream,
        "Event": Event,
        "stream": _enter,
        "current_stream": lambda device=None: Stream.of(_at(device)),
        **_list_memory(card),
        **_list_random(card),
    }


def _list_memory(card: PretendCard) -> dict[str, Any]:
    def get_used(device: Any = None) -> int:
        return card.used.get(_at(device), 0)

    def get_most(device: Any = None) -> int:
        return card.most.get(_at(device), 0)

    def forget_most(device: Any = None) -> None:
        card.most[_at(device)] = get_used(device)

    def set_share(share: float, device: Any = None) -> None:
        if isinstance(device, torch.device) and device.index is None:
            raise ValueError("Expected a torch.device with a specified index or an integer")
        card.share = share

    return {
        "mem_get_info": lambda device=None: (card.total_bytes - get_used(device), card.total_bytes),
        "memory_allocated": get_used,
        "memory_reserved": get_used,
        "max_memory_allocated": get_most,
        "max_memory_reserved": get_most,
        "reset_peak_memory_stats": forget_most,
        "set_per_process_memory_fraction": set_share,
        "empty_cache": lambda: None,
    }


def _list_random(card: PretendCard) -> dict[str, Any]:
    def seed(number: int) -> None:
        state = torch.Generator().manual_seed(number).get_state()
        card.random.update(dict.fromkeys(card.random, state))

    def set_state(state: Tensor, device: Any = None) -> None:
        card.random[_at(device).index] = state

    return {
        "manual_seed_all": seed,
        "manual_seed": seed,
        "get_rng_state": lambda device=None: card.random[_at(device).index],
        "get_rng_state_all": lambda: list(card.random.values()),
        "set_rng_state": set_state,
    }


def _at(device: Any) -> torch.device:
    return normalise(torch.cuda.current_device() if device is None else device)


def _synchronise(card: PretendCard, device: torch.device) -> None:
    for stream in Stream.all:
        if stream.device == device:
            HOST.meet(stream)
    card.wait("synchronize", HOST)


@contextmanager
def _enter(stream: Stream) -> Iterator[None]:
    before = Stream.of(stream.device)
    Stream.current[stream.device] = stream
    try:
        yield
    finally:
        Stream.current[stream.device] = before
