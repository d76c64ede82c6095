"""One answer to one prompt: tokens generated, text streamed, the reason of its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from transformers import PreTrainedModel

from studio.engine.infer.generate import Sampling, iter_tokens
from studio.engine.infer.speech import Speech
from studio.engine.infer.text_stream import TextStream

EndReason = Literal["end_of_turn", "length"]


class Answer:
    """One answer while it grows: iterate over its pieces of text, then read how it ended."""

    def __init__(
        self, model: PreTrainedModel, speech: Speech, prompt_ids: list[int], sampling: Sampling
    ) -> None:
        self._model = model
        self._speech = speech
        self._prompt_ids = prompt_ids
        self._sampling = sampling
        self.text = ""
        self.tokens = 0
        self.reason: EndReason = "length"

    def __iter__(self) -> Iterator[str]:
        """Yields pieces of text, empty ones too: one per token, and the rest at the end."""
        stream = TextStream(self._speech.tokenizer, self._prompt_ids)
        stop_ids = self._speech.stop_ids
        for token in iter_tokens(
            self._model, self._prompt_ids, self._sampling, stop_ids, self._speech.context_tokens
        ):
            if token in stop_ids:
                self.reason = "end_of_turn"
                break
            self.tokens += 1
            piece = stream.add(token)
            self.text += piece
            yield piece
        piece = stream.finish()
        self.text += piece
        yield piece
