"""What all orders to child processes have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Order(BaseModel):
    """One job's arguments; frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
