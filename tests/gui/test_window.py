from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.gui.app import Studio, build_studio
from studio.gui.routes import ROUTES
from studio.gui.window import Window

PAGES = [route.entry.key for route in ROUTES]
ON_RAIL = [route.entry.key for route in ROUTES if not route.under]
CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
)


def iter_controls(page: QWidget) -> list[QWidget]:
    inner = (QAbstractSpinBox, QComboBox, QAbstractItemView)
    return [
        widget
        for kind in CONTROLS
        for widget in page.findChildren(kind)
        if not isinstance(widget, QScrollBar)
        and not widget.isHidden()
        and not isinstance(widget.parentWidget(), inner)
        and widget.objectName() not in ("ScrollLeftButton", "ScrollRightButton")
        and not widget.window().metaObject().className().startswith("QComboBoxPrivate")
    ]


def test_the_window_starts_without_torch_and_pages() -> None:
    code = (
        "import sys, studio.gui.app\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy.core'} & set(sys.modules)\n"
        "pages = [m for m in sys.modules if m.startswith('studio.gui.pages.')]\n"
        "print(sorted(heavy), pages, 'pyqtgraph' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[] [] False"


def test_only_the_open_page_is_built(studio: Studio) -> None:
    studio.window.show_page("settings")
    assert studio.window.page_key == "settings"
    assert list(studio.window._pages) == ["settings"]


@pytest.mark.parametrize("number", range(1, len(ON_RAIL) + 1))
def test_control_and_a_digit_open_a_page(studio: Studio, qtbot: QtBot, number: int) -> None:
    key = ON_RAIL[number - 1]
    studio.window.show_page("settings" if key != "settings" else "home")
    with qtbot.waitActive(studio.window):
        studio.window.show()
        studio.window.activateWindow()
    digit = Qt.Key(int(Qt.Key.Key_0) + number)
    qtbot.keyClick(studio.window, digit, Qt.KeyboardModifier.ControlModifier)
    assert studio.window.page_key == key


@pytest.mark.parametrize("key", PAGES)
def test_every_control_has_a_name_for_screen_readers(studio: Studio, key: str) -> None:
    page = studio.window.get_page(key)
    nameless = [w for w in iter_controls(page) if not (w.accessibleName() or _get_text(w))]
    assert not nameless


@pytest.mark.parametrize("key", PAGES)
@pytest.mark.parametrize("size", [(1000, 680), (1280, 800)])
def test_nothing_is_cut_off_at_the_side(
    studio: Studio, qtbot: QtBot, key: str, size: tuple[int, int]
) -> None:
    window = studio.window
    window.resize(*size)
    window.show_page(key)
    window.show()
    qtbot.waitExposed(window)
    QApplication.processEvents()
    page = window.get_page(key)
    assert page.minimumSizeHint().width() <= page.width()
    for widget in page.findChildren(QWidget):
        if widget.isVisible() and widget.parentWidget() is not None:
            right = widget.mapTo(page, widget.rect().topRight()).x()
            assert right <= page.width(), widget


@pytest.mark.parametrize("key", PAGES)
def test_the_keyboard_reaches_every_control(studio: Studio, qtbot: QtBot, key: str) -> None:
    window = studio.window
    window.show_page(key)
    window.show()
    qtbot.waitExposed(window)
    page = window.get_page(key)
    wanted = {w for w in iter_controls(page) if _takes_tab(w)}
    reached: set[QWidget] = set()
    widget: QWidget = page
    for _ in range(2000):
        widget = widget.nextInFocusChain()
        reached.add(widget)
        if widget is page:
            break
    assert wanted <= reached


@pytest.mark.parametrize("is_hidden", [True, False])
def test_the_keyboard_stays_on_the_page_when_what_had_it_goes_away(
    studio: Studio, qtbot: QtBot, is_hidden: bool
) -> None:
    studio.window.show_page("home")
    with qtbot.waitActive(studio.window):
        studio.window.show()
        studio.window.activateWindow()
    page = studio.window.get_page("home")
    last = page
    while not studio.window._rail.isAncestorOf(following := last.nextInFocusChain()):
        last = following
    while not (_takes_tab(last) and last.isVisible()):
        last = last.previousInFocusChain()
    last.setFocus()
    assert page.isAncestorOf(last)
    assert last.hasFocus()
    last.setVisible(not is_hidden)
    last.setEnabled(is_hidden)
    focus = studio.window.focusWidget()
    assert focus is page or page.isAncestorOf(focus)


def test_the_rail_marks_the_steps_that_are_done(studio: Studio) -> None:
    rail = studio.window._rail
    assert rail._buttons["model"].accessibleName() == "Step 1: Model"
    studio.context.draft.set_value("base.model", "/models/small")
    assert rail._buttons["model"].accessibleName() == "Step 1: Model, done"


def test_the_window_remembers_its_size(qapp: QApplication, qtbot: QtBot, home: Home) -> None:
    for wanted in ((800, 720), None):  # as wide as the screen of the test
        built = build_studio(qapp, home)
        built.window.show_page("settings")
        built.window.show()
        qtbot.waitExposed(built.window)
        if wanted:
            built.window.resize(*wanted)
        size = (built.window.width(), built.window.height())
        built.window.close()
        built.close()
        built.window.deleteLater()
    assert size == (800, 720)


def test_a_guard_can_keep_the_window_open(studio: Studio, qtbot: QtBot) -> None:
    answers = iter([False, True])
    guarded = Window(studio.context, ROUTES, studio.window._geometry, lambda _window: next(answers))
    guarded.show_page("settings")
    guarded.show()
    qtbot.waitExposed(guarded)
    assert not guarded.close()
    assert guarded.isVisible()
    assert guarded.close()
    guarded.deleteLater()


def _takes_tab(widget: QWidget) -> bool:
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.isEnabled()


def _get_text(widget: QWidget) -> str:
    return widget.text() if isinstance(widget, QAbstractButton) else ""


def test_pages_of_one_line_of_the_rail_are_tabs_of_each_other(
    qapp: QApplication, studio: Studio
) -> None:
    first = ROUTES[0]
    other = replace(first, entry=replace(first.entry, key="more"), under="home", tab="More")
    window = Window(studio.context, (*ROUTES, other), studio.window._geometry)
    window.show_page("home")
    tabs = window.get_page("home")._tab_row
    assert [tabs.tabText(index) for index in range(tabs.count())] == ["Home", "More"]
    tabs.setCurrentIndex(1)
    assert window.page_key == "more"
    assert tabs.currentIndex() == 0
    assert "more" not in window._rail._buttons
    assert window._rail._buttons["home"].isChecked()
    window.deleteLater()
