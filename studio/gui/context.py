"""What pages may use; built in ``app.py`` and handed to every page by its constructor."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.network.gate import Gate
from studio.core.paths import Home
from studio.core.starter import StarterKit
from studio.gui.bridge.background import Background
from studio.gui.bridge.hub_shelf import HubShelf
from studio.gui.bridge.model_shelf import ModelShelf
from studio.gui.bridge.preferences import Preferences
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.forms.draft import Draft
from studio.gui.journey import Journey
from studio.gui.theme.theme import Theme


@dataclass(frozen=True)
class Context:
    """The collaborators of all pages."""

    home: Home
    gate: Gate
    preferences: Preferences
    theme: Theme
    background: Background
    feed: RunFeed
    draft: Draft
    journey: Journey
    hub: HubShelf
    shelf: ModelShelf
    starter: StarterKit | None
