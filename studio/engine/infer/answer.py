"""One answer to one prompt: text from tokens as they come, and the reason of its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from transformers import PreTrainedModel

from studio.engine.infer.generate import iter_tokens
from studio.engine.infer.sampling import Sampling
from studio.engine.infer.speech import Speech
from studio.engine.infer.stop_texts import StopTexts
from studio.engine.infer.text_stream import TextStream

EndReason = Literal["end_of_turn", "length", "stop_text"]


class Answer:
    """One answer while it grows: give it the tokens, then read its text and how it ended.

    ``stop_texts`` end the answer where they begin; they are not part of it.
    """

    def __init__(
        self, speech: Speech, prompt_ids: Sequence[int], stop_texts: Sequence[str] = ()
    ) -> None:
        self._stop_ids = speech.stop_ids
        self._stream = TextStream(speech.tokenizer, prompt_ids)
        self._stops = StopTexts(stop_texts)
        self.text = ""
        self.tokens = 0
        self.reason: EndReason = "length"

    @property
    def is_ended(self) -> bool:
        """Whether the model itself or a stop text ended the answer."""
        return self.reason != "length"

    def add(self, token: int) -> str:
        """Returns the text that is certain now; empty where a character or stop text may follow."""
        if token in self._stop_ids:
            self.reason = "end_of_turn"
            return ""
        self.tokens += 1
        return self._append(self._stops.add(self._stream.add(token)))

    def finish(self) -> str:
        """Returns the rest of the text; call it once, when no more tokens come."""
        piece = ""
        if self.reason != "stop_text":
            piece = self._append(self._stops.add(self._stream.finish()))
        if self.reason != "stop_text":
            piece += self._append(self._stops.finish())
        return piece

    def _append(self, piece: str) -> str:
        if self._stops.is_found:
            self.reason = "stop_text"
        self.text += piece
        return piece


def answer_alone(
    model: PreTrainedModel, speech: Speech, prompt_ids: list[int], sampling: Sampling
) -> str:
    """Returns the whole answer of the model as it is to one prompt."""
    answer = Answer(speech, prompt_ids)
    for token in iter_tokens(model, prompt_ids, sampling, speech.stop_ids, speech.context_tokens):
        answer.add(token)
    answer.finish()
    return answer.text
