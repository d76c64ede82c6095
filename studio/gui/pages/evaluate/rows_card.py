"""On which rows base and adapters are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.gui.bridge.run_catalog import RunRow
from studio.gui.pages.evaluate.columns_row import ColumnsRow
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.drop_area import DropCatcher
from studio.gui.widgets.labels import ElidedLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented

_FILES = "Data files (*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.txt *.gz *.zip);;All (*)"
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class RowsWish:
    """A data file or the folder of a run (one of both), and how many rows; 0 means all.

    ``columns`` say which column of the file plays which part, where the user said it.
    """

    data: str = ""
    run: str = ""
    limit: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)


class RowsCard(Card):
    """A file of questions and answers, or the rows that a run held back.

    Signals:
        changed: Other rows are wanted.
        file_chosen: The path of another file; its columns are to be found.
    """

    changed = Signal()
    file_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "2. Rows",
            "Rows it has not been trained on, or the numbers flatter the adapter.",
            parent,
        )
        self._kind = "run"
        self._data = ""
        self._runs: list[str] = []
        self._switch = Segmented(
            "Rows", (("run", "Held back by a run", "runs"), ("file", "A file", "file"))
        )
        self._switch.chosen.connect(self.show_kind)
        self._run = QComboBox()
        self._run.setAccessibleName("Run whose held-back rows are measured")
        self._run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._run.setMinimumContentsLength(16)
        self._run.setPlaceholderText("No run yet")
        self._run.activated.connect(lambda _: self.changed.emit())
        self._file = ElidedLabel("No file chosen yet: drop one here", "muted")
        self._stack = QStackedWidget()
        self._stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._stack.addWidget(self._run)
        self._stack.addWidget(self._build_file_row())
        self._limit = QSpinBox()
        self._limit.setRange(0, _MOST_ROWS)
        self._limit.setValue(100)
        self._limit.setSpecialValueText("All rows")
        self._limit.setPrefix("First ")
        self._limit.setSuffix(" rows")
        self._limit.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
        self._limit.setMinimumWidth(150)
        self._limit.setAccessibleName("How many rows")
        self._limit.setToolTip(
            plain_tooltip("More rows take longer and make the intervals narrower. 0 means all.")
        )
        self._limit.valueChanged.connect(lambda _: self.changed.emit())
        self.columns = ColumnsRow()
        self.columns.changed.connect(self.changed)
        self._build()
        DropCatcher(self, "Drop a data file").paths_dropped.connect(
            lambda paths: self.show_file(paths[0])
        )
        self.show_kind("run")

    @property
    def wish(self) -> RowsWish:
        """The rows that are wanted."""
        index = self._run.currentIndex()
        run = self._runs[index] if 0 <= index < len(self._runs) else ""
        is_file = self._kind == "file"
        if not is_file:
            return RowsWish("", run, self._limit.value())
        return RowsWish(self._data, "", self._limit.value(), self.columns.columns)

    @property
    def obstacle(self) -> str:
        """What is to be said about the rows before they can be measured on, empty for nothing."""
        return self.columns.obstacle if self._kind == "file" else ""

    def show_kind(self, kind: str) -> None:
        """Offers a ``file``, or the rows of a ``run``."""
        self._kind = kind
        self._switch.show_value(kind)
        self._stack.setCurrentIndex(1 if kind == "file" else 0)
        self._columns_box.setVisible(kind == "file")
        self.changed.emit()

    def show_file(self, path: str) -> None:
        """Shows a data file as chosen."""
        self._data = path
        self._file.setText(path)
        self._file.set_role("strong")
        self.columns.forget()
        self.show_kind("file")
        self.file_chosen.emit(path)

    def show_runs(self, rows: Sequence[RunRow], wanted: str = "") -> None:
        """Offers these runs; the wanted one or the one chosen before stays chosen.

        Runs without a recipe, such as saved mixes, have no rows of their own.
        """
        rows = [row for row in rows if row.has_recipe]
        index = self._run.currentIndex()
        before = self._runs[index] if 0 <= index < len(self._runs) else ""
        self._runs = [row.folder for row in rows]
        self._run.clear()
        for row in rows:
            self._run.addItem(f"{row.title[:80]}   ({row.data_names[:60]})")
        chosen = wanted if wanted in self._runs else before
        self._run.setCurrentIndex(self._runs.index(chosen) if chosen in self._runs else 0)
        self._run.setEnabled(bool(rows))
        self.changed.emit()

    def _build(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(SIZES.m)
        row.addWidget(self._stack, 1)
        row.addWidget(self._limit)
        box = QVBoxLayout()
        box.setSpacing(SIZES.s)
        box.addWidget(self._switch, 0, Qt.AlignmentFlag.AlignLeft)
        box.addLayout(row)
        self._columns_box = QWidget()
        inner = QVBoxLayout(self._columns_box)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.columns)
        box.addWidget(self._columns_box)
        self.body.addLayout(box)

    def _build_file_row(self) -> QWidget:
        choose = Button("Choose…", "folder")
        choose.setAccessibleName("Choose a data file")
        choose.clicked.connect(self._on_choose_clicked)
        content = QWidget()
        row = QHBoxLayout(content)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.s)
        row.addWidget(choose)
        row.addWidget(self._file, 1)
        return content

    def _on_choose_clicked(self) -> None:
        start = str(Path(self._data).parent) if self._data else ""
        path, _ = QFileDialog.getOpenFileName(self, "Choose a data file", start, _FILES)
        if path:
            self.show_file(path)
