"""What all orders to child processes, and all requests to them, have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Order(BaseModel):
    """One job's arguments; frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Request(BaseModel):
    """One line of the control file: a wish of the user to a running job."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
