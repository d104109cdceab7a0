"""What a step says of its work: scalars, curves, tables, pictures, and one HTML page that holds them all.

On disk, below a step's output:

    report/metrics.json          {name: number}: headline scalars, under fixed names such as `val/iou`
    report/curves.jsonl          {"step": 3, "metrics": {name: number}}, a line a training epoch
    report/tables/NAME.parquet   `confusion_matrix`, `roc_curve`, `per_class`, ...
    report/figures/NAME.png
    report/report.html           self-contained
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Emit = Callable[[Mapping[str, Any]], None]
"""Takes an event while a step runs: `{"progress": done, "total": n, "text": t}` or `{"metrics": {...}, "step": n}`."""


def silent(event: Mapping[str, Any]) -> None:
    """Listen to nothing."""


class Report:
    """Collects what a step wants to be seen, and writes it at once, so that a killed step leaves what it knew."""

    def __init__(self, folder: Path, *, emit: Emit = silent) -> None:
        self.folder = folder
        self._emit = emit
        self._metrics: dict[str, float] = {}
        self._notes: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Headline scalars; what is not a finite number is left out."""
        self._metrics |= {key: float(value) for key, value in values.items() if math.isfinite(value)}
        (self.folder / "metrics.json").write_text(json.dumps(self._metrics, indent=1, sort_keys=True))

    def curve(self, values: Mapping[str, float], *, step: int) -> None:
        """Scalars of one epoch: shown live, and kept."""
        known = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        line = {"step": step, "metrics": known}
        with (self.folder / "curves.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self._emit(line)

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Columns of equal length, kept as Parquet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        (self.folder / "tables").mkdir(exist_ok=True)
        pq.write_table(pa.table({key: list(values) for key, values in columns.items()}), self.folder / "tables" / f"{name}.parquet")

    def figure(self, name: str, png: bytes) -> None:
        """A picture, as PNG bytes."""
        (self.folder / "figures").mkdir(exist_ok=True)
        (self.folder / "figures" / f"{name}.png").write_bytes(png)

    def note(self, text: str) -> None:
        """A sentence for the reader of the page."""
        self._notes.append(text)

    def close(self, title: str) -> None:
        """Write the page."""
        (self.folder / "report.html").write_text(_page(title, self._notes, self.folder))


def read_metrics(folder: Path) -> dict[str, float]:
    """The headline scalars of a report; none where it has none."""
    path = folder / "metrics.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """The lines of `curves.jsonl`, in the order in which they were written; a last one that is not whole is left out."""
    path = folder / "curves.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}
th{background:#f3f3f3}td:first-child,th:first-child{text-align:left}img{max-width:100%;border:1px solid #ddd}
figure{margin:1.5rem 0}figcaption{color:#555}"""


def _page(title: str, notes: Sequence[str], folder: Path) -> str:
    parts = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    if metrics := read_metrics(folder):
        parts.append(_html_table({"metric": list(metrics), "value": list(metrics.values())}))
    parts += [_picture(path) for path in sorted((folder / "figures").glob("*.png"))]
    parts += [_table_section(path) for path in sorted((folder / "tables").glob("*.parquet"))]
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(path.stem.replace("_", " "))
    return f"<figure><img alt='{name}' src='data:image/png;base64,{data}'><figcaption>{name}</figcaption></figure>"


_ROWS_SHOWN = 50


def _table_section(path: Path) -> str:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    more = f"<p>{table.num_rows - _ROWS_SHOWN} more rows in {html.escape(path.name)}</p>" if table.num_rows > _ROWS_SHOWN else ""
    return f"<h2>{html.escape(path.stem.replace('_', ' '))}</h2>{_html_table(table.slice(0, _ROWS_SHOWN).to_pydict())}{more}"


def _html_table(columns: Mapping[str, Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
    rows = ("".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) for row in zip(*columns.values(), strict=True))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
