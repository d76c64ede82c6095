"""What to do when the check of an export failed, instead of using its files."""

from __future__ import annotations

from studio.gui.bridge.export_history import ExportRecord

_DRIVE = "Export again, best into a folder on another drive: a drive that fails changes files."
_SIZE = (
    "Export again with larger numbers, such as 16 bits. If that fails as well, their size is not "
    "the reason."
)
_MERGED = (
    "If it fails again, export as merged model. That shows whether the merge or the GGUF file is "
    "at fault, and most tools load it too."
)
_ADAPTER = (
    "If it fails again, export the adapter alone: it is copied, and nothing in it is computed anew."
)
_CAPSULE = "The run itself is untouched: it stands on the Runs page as before."
_ORIGINAL = (
    "Choose another checkpoint, or train the run again, if the adapter alone fails every time."
)


def list_ways_out(record: ExportRecord) -> tuple[str, ...]:
    """Returns the steps to take for an export that failed its check, the most promising first."""
    delete = f"Delete the folder {record.folder}, so that nobody takes its files for good ones."
    if record.target == "capsule":
        return _DRIVE, _CAPSULE, delete
    if record.target == "adapter":
        return _DRIVE, _ORIGINAL, delete
    if record.target == "merged":
        return _DRIVE, _ADAPTER, delete
    if record.target == "gguf_lora":
        whole = "If it fails again, write the whole model as GGUF: base and adapter in one file."
        return _DRIVE, whole, delete
    return _SIZE, _MERGED, delete
