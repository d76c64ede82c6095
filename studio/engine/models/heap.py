"""Lets large pieces of memory go back to the system at once, while many of them come and go."""

from __future__ import annotations

import ctypes
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from studio.core.memory.activations import LARGEST_KEPT_BYTES

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGE_BYTES = 1 << 17
_TRIM_BYTES = 64 << 20
_MAPS = Path("/proc/self/maps")


@contextmanager
def returning_memory() -> Iterator[None]:
    """Gives every freed piece of 128 KB and more back inside the block; only glibc needs that.

    Its heap keeps freed pieces between those that stay: a model whose layers are read one by one
    and kept in fewer bits would take up to three times its size (measured: 69 instead of 31 MB).
    """
    set_option = _find_mallopt()
    if set_option is None:
        yield
        return
    set_option(_MMAP_THRESHOLD, _LARGE_BYTES)
    try:
        yield
    finally:
        _set_for_training(set_option)


def return_large_pieces() -> None:
    """Gives freed pieces above a few megabytes back from now on; only glibc needs that.

    What layers keep is freed between what comes and goes, and the heap would hold on to the gaps:
    a third of the peak, half of it where layers are recomputed (measured; it costs 5 % of the
    time). Small pieces stay in the heap: asking the system for all of them costs a fifth.
    """
    set_option = _find_mallopt()
    if set_option is not None:
        _set_for_training(set_option)


def return_gaps() -> None:
    """Gives what the heap holds of freed pieces back; only glibc keeps it otherwise.

    Where layers are recomputed, the forward pass frees nearly all it took; beside a large tile of
    logits that was a fifth of the peak (measured).
    """
    trim = _find_in_libc("malloc_trim")
    if trim is not None:
        trim(0)


def leave_files(model: nn.Module) -> None:
    """Copies what in ``model`` lies in pages of a file into memory of its own, tensor by tensor.

    As long as one tensor lies in a file, the system keeps all pages of it that were ever read, also
    those of weights that are held in fewer bits since: measured as three quarters of the file.
    """
    files = _FilePages()
    copies: dict[tuple[int, torch.Size], Tensor] = {}  # tied weights stay tied
    tensors = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if tensor.device.type == "cpu" and tensor.data_ptr() in files:
            place = tensor.data_ptr(), tensor.shape
            if place not in copies:
                copies[place] = tensor.detach().clone()
            tensor.data = copies[place]


class _FilePages:
    """The addresses at which files lie in memory; where the system does not tell, all of them."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._is_known = _MAPS.exists()
        for line in _MAPS.read_text(encoding="utf-8").splitlines() if self._is_known else ():
            addresses, _, _, _, node = line.split(maxsplit=5)[:5]
            if node != "0":
                start, _, end = addresses.partition("-")
                self._starts.append(int(start, 16))
                self._ends.append(int(end, 16))

    def __contains__(self, address: int) -> bool:
        place = bisect_right(self._starts, address) - 1
        return not self._is_known or (place >= 0 and address < self._ends[place])


def _set_for_training(set_option: Callable[[int, int], int]) -> None:
    set_option(_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    set_option(_TRIM_THRESHOLD, _TRIM_BYTES)


def _find_mallopt() -> Callable[[int, int], int] | None:
    return _find_in_libc("mallopt")


def _find_in_libc(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
