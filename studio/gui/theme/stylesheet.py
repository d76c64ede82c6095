"""The style sheet, generated from the design tokens; it only refines what Fusion draws."""

from __future__ import annotations

from dataclasses import asdict
from string import Template

from studio.gui.theme.tokens import SIZES, Colours

_SHEET = Template(
    """
QToolTip {
    background: $raised; color: $text; border: 1px solid $border_strong;
    padding: 6px 8px; font-size: ${caption}px;
}
QLabel { background: transparent; }
QLabel[role="hero"] { font-size: ${hero}px; font-weight: 600; }
QLabel[role="title"] { font-size: ${title}px; font-weight: 600; }
QLabel[role="heading"] { font-size: ${heading}px; font-weight: 600; }
QLabel[role="strong"] { font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="caption"] { color: $muted; font-size: ${caption}px; }
QLabel[role="overline"] { color: $muted; font-size: ${caption}px; font-weight: 600; }
QLabel[role="error"] { color: $error; font-size: ${caption}px; }
QLabel[role="warning"] { color: $warning; font-size: ${caption}px; }
QLabel[role="success"] { color: $success; font-size: ${caption}px; }
QLabel[role="number"] { font-size: ${title}px; font-weight: 600; }
QLabel:disabled { color: $faint; }

QFrame[kind="card"] {
    background: $surface; border: 1px solid $border; border-radius: ${radius_card}px;
}
QFrame[kind="choice"] {
    background: $surface; border: 1px solid $border; border-radius: ${radius_card}px;
}
QFrame[kind="choice"]:hover { border-color: $border_strong; background: $raised; }
QFrame[kind="choice"]:focus { border: 2px solid $accent; }
QFrame[kind="choice"][chosen="true"] { background: $accent_soft; border-color: $accent; }
QFrame[kind="row"] { background: transparent; border: 2px solid transparent; border-radius: 6px; }
QFrame[kind="row"]:hover { background: $sunken; }
QFrame[kind="row"]:focus { border-color: $accent; }
QFrame[kind="sunken"] {
    background: $sunken; border: 1px solid $border; border-radius: ${radius}px;
}
QFrame[kind="line"] { background: $border; border: none; max-height: 1px; min-height: 1px; }
QFrame[kind="note"] { background: $accent_soft; border: none; border-radius: ${radius}px; }
QFrame[kind="success"] { background: $success_soft; border: none; border-radius: ${radius}px; }
QFrame[kind="warning"] { background: $warning_soft; border: none; border-radius: ${radius}px; }
QFrame[kind="error"] { background: $error_soft; border: none; border-radius: ${radius}px; }
QLabel[chip="plain"] { background: $sunken; color: $muted; }
QLabel[chip="accent"] { background: $accent_soft; color: $accent; }
QLabel[chip="success"] { background: $success_soft; color: $success; }
QLabel[chip="warning"] { background: $warning_soft; color: $warning; }
QLabel[chip="error"] { background: $error_soft; color: $error; }
QFrame[kind="choice"][chosen="true"] QLabel[chip="accent"] { background: $surface; }
QLabel[chip] { border-radius: 9px; padding: 2px 8px; font-size: ${caption}px; font-weight: 600; }

QPushButton {
    background: $surface; color: $text; border: 1px solid $border_strong;
    border-radius: ${radius}px; padding: 0 14px; min-height: ${inner}px;
}
QPushButton:hover { background: $sunken; border-color: $faint; }
QPushButton:pressed, QPushButton:checked { background: $accent_soft; border-color: $accent; }
QPushButton:focus { border: 2px solid $accent; padding: 0 13px; min-height: ${inner_focus}px; }
QPushButton:disabled { background: $window; color: $faint; border-color: $border; }
QPushButton:checked:disabled { background: $accent_soft; border-color: $border_strong; }
QPushButton[kind="primary"] {
    background: $accent; color: $on_accent; border: 2px solid $accent; font-weight: 600;
    min-height: ${inner_focus}px; padding: 0 16px;
}
QPushButton[kind="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[kind="primary"]:pressed { background: $accent_pressed; border-color: $accent_pressed; }
QPushButton[kind="primary"]:focus { border-color: $text; }
QPushButton[kind="primary"]:disabled {
    background: $border; color: $faint; border-color: $border;
}
QPushButton[kind="danger"] { color: $error; }
QPushButton[kind="danger"]:hover { background: $error_soft; border-color: $error; }
QPushButton[kind="danger"]:disabled { color: $faint; background: $window; border-color: $border; }
QPushButton[kind="quiet"] {
    background: transparent; border: 2px solid transparent; color: $accent; padding: 0 8px;
    min-height: ${inner_focus}px;
}
QPushButton[scale="large"] { min-height: ${large}px; padding: 0 18px; }
QPushButton[scale="large"]:focus { min-height: ${large_focus}px; }
QPushButton[kind="primary"][scale="large"] { min-height: ${large_focus}px; }
QPushButton[compact="true"] { padding: 0 4px; }
QPushButton[kind="quiet"]:hover { background: $accent_soft; }
QPushButton[kind="quiet"]:focus { border-color: $accent; }
QPushButton[kind="quiet"]:disabled { color: $faint; }
QToolButton {
    background: transparent; border: 2px solid transparent; border-radius: ${radius}px;
    padding: 3px;
}
QToolButton:hover { background: $sunken; }
QToolButton:pressed, QToolButton:checked { background: $accent_soft; }
QToolButton:focus { border-color: $accent; }

QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox, QComboBox {
    background: $field; color: $text; border: 1px solid $border_strong;
    border-radius: ${radius}px; selection-background-color: $accent;
    selection-color: $on_accent;
}
QLineEdit, QAbstractSpinBox, QComboBox { min-height: ${inner}px; padding: 0 9px; }
QPlainTextEdit, QTextEdit { padding: 6px 7px; }
QLineEdit:focus, QAbstractSpinBox:focus, QComboBox:focus {
    border: 2px solid $accent; padding: 0 8px; min-height: ${inner_focus}px;
}
QPlainTextEdit:focus, QTextEdit:focus { border: 2px solid $accent; padding: 5px 6px; }
QLineEdit:disabled, QPlainTextEdit:disabled, QTextEdit:disabled, QAbstractSpinBox:disabled,
QComboBox:disabled { background: $window; color: $faint; border-color: $border; }
QLineEdit[problem="error"], QAbstractSpinBox[problem="error"], QComboBox[problem="error"] {
    border-color: $error;
}
QLineEdit[problem="warning"], QAbstractSpinBox[problem="warning"], QComboBox[problem="warning"] {
    border-color: $warning;
}
QAbstractSpinBox { padding: 0 2px; }
QAbstractSpinBox:focus { padding: 0 1px; }
QAbstractSpinBox QLineEdit {
    border: none; background: transparent; padding: 0; min-height: 0;
}
QComboBox QLineEdit { border: none; background: transparent; padding: 0; min-height: 0; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {
    subcontrol-origin: border; width: 20px; border: none; background: transparent; margin: 1px;
}
QAbstractSpinBox::up-button { subcontrol-position: top right; }
QAbstractSpinBox::down-button { subcontrol-position: bottom right; }
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover { background: $sunken; }
QAbstractSpinBox::up-arrow { image: url("$arrow_up"); width: 10px; height: 10px; }
QAbstractSpinBox::down-arrow { image: url("$arrow_down"); width: 10px; height: 10px; }
QComboBox::drop-down { border: none; width: 24px; subcontrol-position: center right; }
QComboBox::down-arrow { image: url("$arrow_down"); width: 12px; height: 12px; }
QComboBox QAbstractItemView {
    background: $raised; color: $text; border: 1px solid $border_strong; outline: none;
    padding: 4px; selection-background-color: $accent_soft; selection-color: $text;
}
QComboBox QAbstractItemView::item { min-height: 28px; padding: 2px 6px; border-radius: 4px; }
QCheckBox, QRadioButton { spacing: 8px; }
QCheckBox::indicator, QListView::indicator, QTableView::indicator, QTreeView::indicator {
    width: 16px; height: 16px; border: 1px solid $faint; border-radius: 4px;
    background: $field;
}
QCheckBox::indicator:hover { border-color: $accent; }
QCheckBox::indicator:focus { border: 2px solid $accent; width: 14px; height: 14px; }
QCheckBox::indicator:checked, QListView::indicator:checked, QTableView::indicator:checked,
QTreeView::indicator:checked {
    background: $accent; border-color: $accent; image: url("$arrow_check");
}
QCheckBox::indicator:disabled { border-color: $border; background: $window; }

QTreeView, QTableView, QListView {
    background: $surface; color: $text; border: 1px solid $border;
    border-radius: ${radius}px; alternate-background-color: $sunken; outline: none;
    selection-background-color: $accent_soft; selection-color: $text; gridline-color: $border;
}
QTreeView:focus, QTableView:focus, QListView:focus { border-color: $accent; }
QTreeView::item, QListView::item { padding: 4px 6px; }
QTreeView::item:hover, QListView::item:hover { background: $sunken; }
QTreeView::item:selected, QListView::item:selected, QTableView::item:selected {
    background: $accent_soft; color: $text;
}
QTreeView::branch { background: transparent; }
QTreeView::branch:selected { background: $accent_soft; }
QTreeView::branch:has-children:closed { image: url("$arrow_right"); }
QTreeView::branch:has-children:open { image: url("$arrow_down"); }
QTableView::item { padding: 3px 6px; }
QHeaderView { background: transparent; }
QHeaderView::section {
    background: $surface; color: $muted; border: none; border-bottom: 1px solid $border;
    padding: 6px 8px; font-size: ${caption}px; font-weight: 600;
}
QTableCornerButton::section { background: $surface; border: none; }

QTabWidget::pane { border: none; }
QTabBar { background: transparent; }
QTabBar::tab {
    background: transparent; color: $muted; padding: 8px 14px; border: none;
    border-bottom: 2px solid transparent;
}
QTabBar::tab:hover { color: $text; }
QTabBar::tab:selected { color: $text; border-bottom-color: $accent; font-weight: 600; }
QTabBar::tab:focus { background: $accent_soft; }

QProgressBar {
    background: $border; border: none; border-radius: 3px; min-height: 6px; max-height: 6px;
    text-align: center;
}
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QSlider::groove:horizontal { background: $border; height: 4px; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal {
    background: $accent; width: 16px; height: 16px; margin: -6px 0; border-radius: 8px;
}
QSlider::handle:horizontal:focus { border: 2px solid $text; width: 12px; height: 12px; }
QSplitter::handle { background: transparent; }
QSplitter::handle:hover { background: $border; }
QScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget[role="scrolled"] { background: transparent; }
QScrollBar:vertical { background: transparent; width: 12px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 12px; margin: 0; }
QScrollBar::handle {
    background: $border_strong; border-radius: 4px; margin: 2px;
}
QScrollBar::handle:vertical { min-height: 32px; }
QScrollBar::handle:horizontal { min-width: 32px; }
QScrollBar::handle:hover { background: $faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QMenu {
    background: $raised; color: $text; border: 1px solid $border_strong; padding: 4px;
}
QMenu::item { padding: 6px 24px 6px 12px; border-radius: 4px; }
QMenu::item:selected { background: $accent_soft; }
QMenu::item:disabled { color: $faint; }
QMenu::separator { height: 1px; background: $border; margin: 4px 8px; }
"""
)


def build_stylesheet(colours: Colours, arrows: dict[str, str]) -> str:
    """Return the style sheet of a theme; ``arrows`` holds image paths for up, down and right."""
    values: dict[str, object] = {**asdict(colours), **asdict(SIZES)}
    values["inner"] = SIZES.control - 2
    values["inner_focus"] = SIZES.control - 4
    values["large"] = SIZES.control + 4
    values["large_focus"] = SIZES.control + 2
    values["field"] = colours.sunken if colours.is_dark else colours.surface
    for direction, path in arrows.items():
        values[f"arrow_{direction}"] = path
    return _SHEET.substitute(values)
