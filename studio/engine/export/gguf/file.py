"""Writes the parts of a GGUF file in order, with only a few MiB of tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import gguf
import numpy as np

from studio.engine.export.gguf.families import Value
from studio.engine.export.gguf.numbers import Format, encode
from studio.engine.export.gguf.tensors import GgufTensor
from studio.engine.export.gguf.vocabulary import Vocabulary
from studio.engine.export.shards import Room


class GgufFile:
    """A GGUF file while it is written; use it in a ``with`` block."""

    def __init__(self, path: Path, architecture: str) -> None:
        self._path = path
        self._writer = gguf.GGUFWriter(None, architecture)

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in self._writer.fout or ():
            stream.close()

    def add_settings(self, settings: Mapping[str, Value]) -> None:
        """Adds settings; whole numbers are stored as 32 bits without sign."""
        for key, value in settings.items():
            if isinstance(value, bool):
                self._writer.add_bool(key, value)
            elif isinstance(value, int):
                self._writer.add_uint32(key, value)
            elif isinstance(value, float):
                self._writer.add_float32(key, value)
            else:
                self._writer.add_string(key, value)

    def add_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Adds the tokenizer."""
        writer = self._writer
        writer.add_tokenizer_model(vocabulary.model)
        writer.add_tokenizer_pre(vocabulary.pre)
        writer.add_token_list(list(vocabulary.tokens))
        if vocabulary.scores:
            writer.add_token_scores(list(vocabulary.scores))
        writer.add_token_types(list(vocabulary.kinds))
        if vocabulary.merges:
            writer.add_token_merges(list(vocabulary.merges))
        for name, index in vocabulary.marks.items():
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", index)
        for name, flag in vocabulary.flags.items():
            writer.add_bool(f"tokenizer.ggml.{name}", flag)
        if vocabulary.charsmap:
            writer.add_precompiled_charsmap(vocabulary.charsmap)
        if vocabulary.chat_template is not None:
            writer.add_chat_template(vocabulary.chat_template)

    def write(self, tensors: Sequence[GgufTensor]) -> Iterator[int]:
        """Writes header and ``tensors``; yields the bytes that each write added.

        Raises:
            ModelUnusable: A value does not fit its format.
            OSError: The file cannot be written.
        """
        writer = self._writer
        for tensor in tensors:
            _announce(writer, tensor)
        writer.write_header_to_file(self._path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if writer.fout is None:
            return
        output, room = writer.fout[0], Room()
        writer.write_padding(output, output.tell())
        for tensor in tensors:
            for rows in tensor.iter_rows(room):
                yield output.write(encode(rows, tensor.kind, tensor.name))
            writer.write_padding(output, tensor.byte_count)
        output.flush()


def _announce(writer: gguf.GGUFWriter, tensor: GgufTensor) -> None:
    shape: Sequence[int] = tensor.shape
    if tensor.kind in (Format.F32, Format.F16):
        dtype = np.dtype(np.float32 if tensor.kind == Format.F32 else np.float16)
        writer.add_tensor_info(tensor.name, shape, dtype, tensor.byte_count)
        return
    shape = gguf.quants.quant_shape_to_byte_shape(shape, tensor.kind)
    writer.add_tensor_info(
        tensor.name, shape, np.dtype(np.uint8), tensor.byte_count, raw_dtype=tensor.kind
    )
