"""The sample prompts of a run, answered by base and adapter while it trains."""

from __future__ import annotations

from collections.abc import Iterator

from transformers import PreTrainedModel

from studio.core.events.types import Event, SampleAnswered
from studio.core.jobs.orders import Turn
from studio.engine.infer.answer import answer_alone
from studio.engine.infer.sampling import Sampling
from studio.engine.infer.speech import Speech
from studio.engine.lora.adapter import Adapter
from studio.engine.models.attention import attention_of

_SAMPLING = Sampling(max_new_tokens=96)


class SamplePrompts:
    """Answers the same prompts again and again, greedily, so that answers can be compared."""

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: Adapter,
        speech: Speech,
        prompts: tuple[str, ...],
        attention: str,
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._speech = speech
        self._prompts = prompts
        self._attention = attention

    def answer(self, step: int) -> Iterator[Event]:
        """Yields SampleAnswered for each prompt: by the base at step 0, else by the adapter."""
        for prompt in self._prompts:
            if step == 0:
                with self._adapter.disabled():
                    text = self._answer_one(prompt)
                yield SampleAnswered(step=step, prompt=prompt, source="base", answer=text)
            else:
                text = self._answer_one(prompt)
                yield SampleAnswered(step=step, prompt=prompt, source="adapter", answer=text)

    def _answer_one(self, prompt: str) -> str:
        was_training = self._model.training
        self._model.eval()
        try:
            with attention_of(self._model, self._attention):
                ids = self._speech.encode([Turn(role="user", content=prompt)], is_raw=False)
                return answer_alone(self._model, self._speech, ids, _SAMPLING)
        finally:
            self._model.train(was_training)
