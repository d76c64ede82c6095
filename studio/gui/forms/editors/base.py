"""What every editor is."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel, repolish


class Editor(QWidget):
    """Edits one value; ``show_value`` never emits.

    Signals:
        edited: The user changed the value; carries the new one.
    """

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QHBoxLayout(self)
        self.line.setContentsMargins(0, 0, 0, 0)
        self.line.setSpacing(SIZES.s)
        self._targets: list[QWidget] = []

    def add_target(self, widget: QWidget, name: str, stretch: int = 0) -> None:
        """Adds a control: named for screen readers, safe from the mouse wheel, marked when wrong.

        The first one becomes the focus target of the label.
        """
        widget.setAccessibleName(name)
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(WheelGuard(widget))
        self._targets.append(widget)
        self.line.addWidget(widget, stretch)
        if self.focusProxy() is None:
            self.setFocusProxy(widget)

    def show_value(self, value: Any) -> None:
        """Shows a value of the recipe."""
        raise NotImplementedError

    def show_severity(self, severity: str) -> None:
        """Marks the controls as wrong (``error``), odd (``warning``) or fine (empty)."""
        for target in self._targets:
            if (target.property("problem") or "") != severity:
                target.setProperty("problem", severity)
                repolish(target)

    def show_unit(self, unit: str) -> None:
        """Shows what the number counts, right beside it."""
        label = PlainLabel(unit, "muted", wraps=False)
        self.line.insertWidget(1, label)

    def describe(self, help_text: str) -> None:
        """Gives screen readers the explanation of the setting."""
        for target in self._targets:
            target.setAccessibleDescription(help_text)


class WheelGuard(QObject):
    """Lets the mouse wheel scroll the page instead of changing a value that has no focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Drops wheel events of a control without focus, so that its parent gets them."""
        is_wheel = event.type() == QEvent.Type.Wheel
        if is_wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False
