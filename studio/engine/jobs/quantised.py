"""Loading a base in fewer bits, and saying what became of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel

from studio.core.errors import StudioError
from studio.core.events.types import NoticeRaised
from studio.core.units import format_bytes
from studio.core.weights.adapter_file import read_seen_base
from studio.core.weights.quantisable import QUANTISATION_NAMES
from studio.engine.held.fast import choose_path
from studio.engine.held.layer import find_quantisation
from studio.engine.models.load import load_model
from studio.engine.models.quantised import Watch, measure_quantised


def load_quantised(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    quantisation: str,
    *,
    keeps: tuple[str, ...] = (),
    watch: Watch | None = None,
    workshop: torch.device | None = None,
) -> Generator[NoticeRaised, None, PreTrainedModel]:
    """Returns the model in ``folder`` as ``load_model`` does.

    Yields:
        NoticeRaised, if it is quantised or was to be.

    Raises:
        StudioError: As ``load_model``.
    """
    model = load_model(
        folder,
        dtype,
        device,
        quantisation=quantisation,
        keeps=keeps,
        watch=watch,
        workshop=workshop,
    )
    yield from _tell(model, quantisation, workshop or device)
    return model


def choose_quantisation(wish: str, adapters: Iterable[str]) -> str:
    """Returns how to hold a base for ``adapters`` (folders): as all of them saw it in training.

    Where they differ, or there are none, the base is held as it is in its files. A ``wish`` other
    than auto decides.
    """
    if wish != "auto":
        return wish
    seen = set()
    for folder in adapters:
        try:
            seen.add(read_seen_base(Path(folder)).quantisation)
        except StudioError:  # whoever loads the adapter next says what is wrong with it
            return "none"
    return seen.pop() if len(seen) == 1 else "none"


def tell_other_form(model: PreTrainedModel, name: str, adapter: Path) -> Iterator[NoticeRaised]:
    """Yields a warning where the adapter in a folder has learnt over the base in another form."""
    try:
        seen = read_seen_base(adapter).quantisation
    except StudioError:  # it was refused, which has been said
        return
    held = find_quantisation(model)
    if seen != held:
        words = {"none": "as in its files", **QUANTISATION_NAMES}
        where = {key: text if key == "none" else f"in {text}" for key, text in words.items()}
        yield NoticeRaised(
            severity="warning",
            code="base_held_otherwise",
            message=f"{name} was trained over the base held {where[seen]}; now it is held "
            f"{where[held]}, so that the answers are not quite those of training.",
            remedy="Choose how the base is held among the settings of the answers (Base in "
            "memory).",
        )


def _tell(model: PreTrainedModel, wish: str, device: torch.device) -> Iterator[NoticeRaised]:
    found = measure_quantised(model)
    if found is None:
        if wish != "none":
            yield NoticeRaised(
                severity="warning",
                code="nothing_quantised",
                message="No layer of this model can be held in fewer bits: they are stacked, or "
                "too small to save anything.",
                remedy="Nothing to do; the base is held as with the quantisation none.",
            )
        return
    kind = find_quantisation(model)
    name = QUANTISATION_NAMES.get(kind, kind)
    words = f"{found.layers} layers of the base are held in {name}: "
    words += f"{format_bytes(found.held_bytes)} instead of {format_bytes(found.dense_bytes)}."
    if kind == "nf4":
        path = choose_path(device)
        words += (
            f" bitsandbytes {path.version} unfolds them, because {path.words} here."
            if path.is_equal
            else f" The program unfolds them itself (bitsandbytes: {path.words})."
        )
    yield NoticeRaised(code="base_quantised", message=words)
    if wish not in ("none", kind):
        yield NoticeRaised(
            severity="warning",
            code="base_stored_quantised",
            message=f"The files of this model hold its weights in {name}, and "
            f"they stay so; the setting {wish} has no effect.",
            remedy=f"Set the quantisation to {kind}, or choose the original model.",
        )
