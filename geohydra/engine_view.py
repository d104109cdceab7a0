"""A step's report as an engine's own pages show it: scalars, a confusion matrix, one ROC curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

POINTS = 50
"""Points of the ROC curve that are passed on."""

_LARGEST_MATRIX = 60


def classification(report: Path) -> dict[str, Any]:
    """`confusionMatrix` and `confidenceMetrics`, as Kubeflow's ClassificationMetrics holds them; what was not measured is left out.

    Of two classes the curve is the second one's, of more the mean of all at equal thresholds.
    """
    found: dict[str, Any] = {}
    if (matrix := _table(report, "confusion_matrix")) is not None:
        names = [str(name) for name in matrix["truth"]]
        if len(names) <= _LARGEST_MATRIX:
            rows = [{"row": [int(matrix[name][place]) for name in names]} for place in range(len(names))]
            found["confusionMatrix"] = {"annotationSpecs": [{"displayName": name} for name in names], "rows": rows}
    if (curve := _table(report, "roc_curve")) is not None and curve["class"]:
        found["confidenceMetrics"] = roc_points(curve)
    return found


def roc_points(curve: Mapping[str, Sequence[Any]]) -> list[dict[str, float]]:
    """Points at falling thresholds, from a table with a row for each class and threshold."""
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for name, *point in zip(*(curve[key] for key in ("class", "threshold", "false_positive_rate", "true_positive_rate")), strict=True):
        if all(math.isfinite(value) for value in point):
            lines.setdefault(str(name), []).append((float(point[0]), float(point[1]), float(point[2])))
    chosen = list(lines.values())[-1:] if len(lines) <= 2 else list(lines.values())
    if not chosen:
        return []
    points = []
    for place in range(POINTS + 1):
        threshold = 1 - place / POINTS
        rates = [_at(line, threshold) for line in chosen]
        mean = [sum(values) / len(rates) for values in zip(*rates, strict=True)]
        points.append({"confidenceThreshold": round(threshold, 6), "falsePositiveRate": mean[0], "recall": mean[1]})
    return points


def _at(line: Sequence[tuple[float, float, float]], threshold: float) -> tuple[float, float]:
    """The rates at a threshold: those of the lowest known one that is not below it."""
    known = [(fallout, recall) for at, fallout, recall in line if at >= threshold - 1e-9]
    return known[-1] if known else (0.0, 0.0)


def _table(report: Path, name: str) -> dict[str, list[Any]] | None:
    path = report / "tables" / f"{name}.parquet"
    if not path.exists():
        return None
    import pyarrow.parquet as pq

    return dict(pq.read_table(path).to_pydict())
