"""The export job: writes files for other tools, loads them again and compares."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from studio.core.errors import AdapterUnusable
from studio.core.events.types import (
    Event,
    ExportFinding,
    ExportFinished,
    ExportProgressed,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
)
from studio.core.files import remove
from studio.core.jobs.orders import ExportOrder
from studio.core.runs.layout import RunLayout
from studio.core.runs.leftovers import clear_abandoned
from studio.engine.export.adapter import export_adapter
from studio.engine.export.capsule import export_capsule, find_capsule_faults
from studio.engine.export.card import write_card
from studio.engine.export.card_facts import CARD_NAME, collect_facts
from studio.engine.export.certificate import CERTIFICATE_NAME, Certificate, write_certificate
from studio.engine.export.certify import (
    Exported,
    build_export_speech,
    certify,
    deny,
    get_base_folder,
    plan_order,
)
from studio.engine.export.experts import LAYOUT_WORDS, ConvertedAdapter
from studio.engine.export.gguf.lora import export_lora_gguf
from studio.engine.export.gguf.model import export_gguf
from studio.engine.export.lint import check_export
from studio.engine.export.manner import find_manner
from studio.engine.export.merged import export_merged
from studio.engine.export.ollama import build_modelfile, export_ollama
from studio.engine.export.reduced import write_reduced
from studio.engine.export.seen_base import find_needed_base
from studio.engine.jobs.requests import (
    RequestFeed,
    StopWished,
    ends_when_stopped,
    follow_until_stopped,
)
from studio.engine.lora.stored import read_adapter
from studio.engine.models.reference import find_model
from studio.engine.train.guard.memory import give_memory_back
from studio.engine.train.manifest import check_trained_on

Steps = Generator[ExportProgressed, None, tuple[str, ...]]


@ends_when_stopped
def run(order: ExportOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Writes the files that the order asks for and verifies them by loading them again.

    Yields:
        PhaseEntered, NoticeRaised for what the tool would refuse, ExportProgressed, NoticeRaised
        if the check failed, ExportFinished, RunFinished; RunStopped alone after a stop, with
        nothing left behind.

    Raises:
        StudioError: Adapter or base cannot be used, or the target cannot be written.
    """
    return _export(order, layout, control)


def _export(asked: ExportOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    order, out = asked, Path(asked.out)
    if order.target == "capsule":
        yield from _pack(order, out, control)
        return
    yield PhaseEntered(phase="loading_model")
    reference = find_model(_name_base(order), get_base_folder(order), _find_revision(order))
    base = reference.folder
    check_trained_on(Path(order.adapter), base)
    order = yield from _reduce(asked, layout, control)
    if order.tool is not None:
        for finding in check_export(
            base, Path(order.adapter), order.target, order.tool, order.onto
        ):
            yield _tell(finding)
    yield PhaseEntered(phase="saving", detail=f"Writing to {out}")
    yield from _clear(out)
    steps, notices = _start(order, base, out)
    yield from notices
    files = yield from follow_until_stopped(steps, control)
    yield PhaseEntered(phase="finishing", detail="Loading the files again and comparing")
    certificate: Certificate | None = None
    exported = Exported(order, base, out, files)
    try:
        certificate = certify(exported, control.check_stop)
    except StopWished:
        pass  # below, where nothing holds what was loaded
    except Exception as error:  # the files must not lie there as if nothing spoke against them
        write_certificate(deny(exported, error), out)
        raise
    if certificate is None:
        give_memory_back()  # what was loaded are the files themselves: Windows would keep them
        remove(out)
        raise StopWished
    path = write_certificate(certificate, out)
    write_card(collect_facts(asked, reference.name, base, certificate, files), out)
    for note in certificate.notes:
        yield NoticeRaised(code="export_changed", message=f"About the check: {note}.")
    if not certificate.is_verified:
        yield _warn(certificate)
    yield ExportFinished(
        folder=str(out),
        files=(*files, CERTIFICATE_NAME, CARD_NAME),
        is_verified=certificate.is_verified,
        largest_difference=certificate.largest_difference,
        certificate=str(path),
        mean_divergence=certificate.mean_divergence,
        equal_fraction=certificate.equal_fraction,
        engine=certificate.engine,
        reasons=certificate.reasons,
        prompts=certificate.prompts,
    )
    yield RunFinished(step=0)


def _clear(out: Path) -> Iterator[NoticeRaised]:
    """Removes what an export to the same place left when it was killed, and tells it."""
    count = len(clear_abandoned(out))
    if count:
        what = "An earlier export" if count == 1 else f"{count} earlier exports"
        yield NoticeRaised(
            code="export_cleared",
            message=f"{what} to {out} had been cut short. The unfinished files were removed.",
        )


def _reduce(
    order: ExportOrder, layout: RunLayout, control: RequestFeed
) -> Generator[Event, None, ExportOrder]:
    """Returns the order for the smaller adapter that was wished, or as it was."""
    if order.rank is None and not order.drops:
        return order
    yield PhaseEntered(phase="saving", detail="Making the adapter smaller")
    origin = Path(order.adapter)
    reduced = write_reduced(
        origin,
        layout.folder / "reduced",
        rank=order.rank,
        drops=order.drops,
        between=control.check_stop,
    )
    yield NoticeRaised(code="export_reduced", message=f"The adapter is {reduced.words}.")
    return order.model_copy(update={"adapter": str(reduced.folder), "origin": order.adapter})


def _pack(order: ExportOrder, out: Path, control: RequestFeed) -> Iterator[Event]:
    """Writes a capsule and compares every hash in it; no model is needed for that."""
    yield PhaseEntered(phase="saving", detail=f"Writing to {out}")
    yield from _clear(out)
    yield from find_needed_base(read_adapter(Path(order.adapter)).seen)
    steps = export_capsule(Path(order.adapter), out, name=order.name, base=order.base)
    files = yield from follow_until_stopped(steps, control)
    yield PhaseEntered(phase="finishing", detail="Reading the capsule again")
    faults = find_capsule_faults(out / files[0])
    yield ExportFinished(
        folder=str(out),
        files=files,
        is_verified=not faults,
        engine="hashes of every file",
        reasons=tuple(faults),
    )
    yield RunFinished(step=0)


def _start(order: ExportOrder, base: Path, out: Path) -> tuple[Steps, list[NoticeRaised]]:
    """Returns the export that the order asks for, not yet begun, and what it does by itself."""
    adapter = Path(order.adapter)
    if order.target == "adapter":
        return _start_adapter(order, base, out)
    if order.target == "gguf_lora":
        return export_lora_gguf(base, adapter, out, name=order.name), []
    if order.target == "gguf":
        plan = plan_order(order, base)
        return export_gguf(plan, out, name=order.name), _tell_changes(plan.notes)
    speech = build_export_speech(order, base)
    if order.target == "merged":
        manner, changes = find_manner(order, base, speech)
        steps = export_merged(
            base, adapter, out, keeps_zeros=order.keeps_zeros, onto=order.onto, manner=manner
        )
        return steps, _tell_changes(changes)
    plan = plan_order(order, base)
    modelfile = build_modelfile(plan, speech, base, name=order.name)
    notices = _tell_changes(plan.notes)
    if modelfile.warning:
        notices.append(
            NoticeRaised(severity="warning", code="ollama_template", message=modelfile.warning)
        )
    return export_ollama(plan, modelfile, out, name=order.name), notices


def _tell_changes(changes: Iterable[str]) -> list[NoticeRaised]:
    return [
        NoticeRaised(code="export_changed", message=f"In the files, {change}.")
        for change in changes
    ]


def _start_adapter(order: ExportOrder, base: Path, out: Path) -> tuple[Steps, list[NoticeRaised]]:
    stored = read_adapter(Path(order.adapter))
    notices = find_needed_base(stored.seen)
    if order.experts == "kept":
        return export_adapter(stored.folder, out), notices
    converted = ConvertedAdapter(stored, base, order.experts)
    verb = "were" if converted.is_changed else "are already"
    message = f"The matrices of the experts {verb} written {LAYOUT_WORDS[order.experts]}."
    notices.append(NoticeRaised(code="export_changed", message=message))
    return export_adapter(stored.folder, out, converted), notices


def _tell(finding: ExportFinding) -> NoticeRaised:
    """Returns what the tool will not like, as a warning; the user may have reasons of their own."""
    return NoticeRaised(
        severity="warning" if finding.is_fatal else "note",
        code=f"export_{finding.code}",
        message=finding.message,
        remedy=finding.advice,
    )


def _warn(certificate: Certificate) -> NoticeRaised:
    reasons = "; ".join(certificate.reasons)
    return NoticeRaised(
        severity="warning",
        code="export_differs",
        message=f"The files were written, but they are not what was trained: {reasons}.",
        remedy="Do not use them; export again, choose another number format, or check the drive.",
    )


def _name_base(order: ExportOrder) -> str:
    name = order.base or read_adapter(Path(order.adapter)).config.base_model
    if not name:
        raise AdapterUnusable(
            f"The adapter in {order.adapter} does not say which base model it belongs to.",
            "Choose the base model it was trained on.",
        )
    return name


def _find_revision(order: ExportOrder) -> str | None:
    return None if order.base else read_adapter(Path(order.adapter)).config.revision
