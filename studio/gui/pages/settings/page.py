"""The settings page: looks, network, where models are looked for, where files are kept."""

from __future__ import annotations

from studio.core.hub.token import find_token, save_token
from studio.core.network.gate import OFFLINE_SETTING
from studio.core.programs.lm_studio import FOLDER_SETTING, find_models_folder
from studio.core.programs.ollama import ADDRESS_SETTING
from studio.gui.context import Context
from studio.gui.pages.settings.about import AboutCard
from studio.gui.pages.settings.appearance import AppearanceCard
from studio.gui.pages.settings.folders import FoldersCard, HomeCard
from studio.gui.pages.settings.network import NetworkCard
from studio.gui.pages.settings.programs import ProgramsCard
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class SettingsPage(Page):
    """Preferences of the window; none of them changes a recipe or a run."""

    def __init__(self, context: Context) -> None:
        super().__init__("Settings", "How the window looks and where it finds things.")
        self._context = context
        preferences = context.preferences
        self._appearance = AppearanceCard()
        self._appearance.show_choices(
            context.theme.choice, round(preferences.get_number("scale_percent", 100))
        )
        self._appearance.theme_chosen.connect(self._on_theme_chosen)
        self._appearance.scale_chosen.connect(self._on_scale_chosen)
        self._folders = FoldersCard()
        self._folders.show_folders(preferences.get_texts("model_folders"))
        self._folders.folders_changed.connect(self._on_folders_changed)
        self._network = NetworkCard(context.gate)
        self._network.offline_chosen.connect(self._on_offline_chosen)
        self._network.token_entered.connect(self._on_token_entered)
        self._programs = ProgramsCard()
        self._programs.address_entered.connect(
            lambda text: context.preferences.keep(ADDRESS_SETTING, text)
        )
        self._programs.folder_chosen.connect(self._on_programs_folder_chosen)
        self._notice = Notice()
        preferences.save_failed.connect(self._notice.show_error)
        for card in (
            self._notice,
            self._appearance,
            self._network,
            self._folders,
            self._programs,
            HomeCard(context.home.folder),
            AboutCard(),
        ):
            self.body.addWidget(card)
        self.body.addStretch(1)

    def _on_theme_chosen(self, choice: str) -> None:
        self._context.theme.choose(choice)
        self._context.preferences.keep("theme", choice)

    def _on_scale_chosen(self, percent: int) -> None:
        self._context.preferences.keep("scale_percent", percent)

    def _on_offline_chosen(self, is_offline: bool) -> None:
        self._context.preferences.keep(OFFLINE_SETTING, is_offline)

    def refresh(self) -> None:
        """Looks whether an access token of the hub is saved, and where LM Studio is."""
        self._context.background.start(lambda _: find_token(), self._on_token_known)

        chosen = self._context.preferences.get_text(FOLDER_SETTING)
        self._context.background.start(
            lambda _: find_models_folder(chosen),
            lambda found: self._programs.show_places(
                self._context.preferences.get_text(ADDRESS_SETTING), chosen, found
            ),
        )

    def _on_programs_folder_chosen(self, folder: str) -> None:
        self._context.preferences.keep(FOLDER_SETTING, folder)
        self.refresh()

    def _on_token_entered(self, token: str) -> None:
        self._notice.clear()
        self._context.background.start(
            lambda _: save_token(token), lambda _: self.refresh(), self._notice.show_error
        )

    def _on_token_known(self, token: str | None) -> None:
        self._network.show_token_state(is_saved=token is not None)

    def _on_folders_changed(self, folders: list[str]) -> None:
        self._context.preferences.keep("model_folders", folders)
