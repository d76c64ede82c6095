"""The command line and the environment of a child process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from studio.core.network.gate import OFFLINE_VARIABLE, find_fixed


def build_command(folder: Path, processes: int = 1) -> list[str]:
    """Returns the arguments that start the worker on a run directory.

    With several ``processes`` (one per graphics card) torch's own launcher starts them; that needs
    a Python installation, a frozen program always starts one.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "worker", str(folder)]
    if processes == 1:
        return [sys.executable, "-m", "studio", "worker", str(folder)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *launcher, "-m", "studio", "worker", str(folder)]


def build_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment of a worker; what the user has set (``given``) wins.

    Only the libraries' own way to the network stays shut, whatever is set: a job that needs the
    network goes through the gate.

    ``given`` is this process's own environment unless another one is named.
    """
    environment = dict(os.environ if given is None else given)
    # Said here once: below, the hub's own variable is set for every child.
    environment.setdefault(OFFLINE_VARIABLE, "1" if find_fixed(environment) else "0")
    for name, value in _get_defaults().items():
        environment.setdefault(name, value)
    environment["HF_HUB_OFFLINE"] = "1"
    if sys.platform == "linux":
        # Each thread would hold on to freed pieces of a few bytes between the large ones, which
        # then cannot grow together: a tenth of the memory that training takes (measured).
        environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
        if "PYTORCH_CUDA_ALLOC_CONF" not in environment:
            # Less memory is lost to gaps when lengths vary; the older name is the user's own wish.
            environment.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    return environment


def _get_defaults() -> dict[str, str]:
    return {
        # Spinning OpenMP threads slow a busy machine down by an order of magnitude.
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(count_threads()),
        # The library of 16-bit products compiles code for every number of rows and would keep
        # 1,024 such pieces, up to a megabyte each; a step of training needs less than a hundred.
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "192",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        # Cards have the numbers that their driver shows and forecasts count by, not the order in
        # which CUDA finds them fast.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def count_threads() -> int:
    """Returns how many threads a worker computes with: all cores but one, which is the window's."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # a container or a batch system may allow fewer
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores - 1)
