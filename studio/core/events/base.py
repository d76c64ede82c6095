"""What all facts of jobs have in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A fact that is already true; the journal writer stamps ``time_seconds`` (Unix time)."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        protected_namespaces=(),
        ser_json_inf_nan="constants",
        defer_build=True,  # a process meets few of the kinds; all cost it 0.1 s
    )
    kinds: ClassVar[dict[str, type[Event]]] = {}
    time_seconds: float = 0.0

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        """Enter the type in the table by which the codec finds it."""
        super().__pydantic_init_subclass__(**kwargs)
        Event.kinds[cls.__name__] = cls
