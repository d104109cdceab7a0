"""Numbers of parcels held against what is known of them: each counts once, however large it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.parcels import parcels_of_split
from geohydra.evaluation.values import Errors, show_errors

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.report import Report
    from geohydra.task import Ground, Pair
    from geohydra.work import Work

Numbers = NDArray[np.float64]


class ParcelTask(Protocol):
    """What is asked of a task that answers for parcels with a number."""

    value: str

    def truth(self, ground: Ground) -> Numbers:
        """The true number of every polygon of a scene, NaN where it is not known."""


@dataclass(frozen=True, slots=True)
class ParcelValueComparison:
    """The `parcels` tables of predictions held against the labels, over the parcels that lie in a split for the most part."""

    task: ParcelTask

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 (every comparison is given them)
        """Ids, true and predicted numbers of the parcels of a scene that have both and lie in the split."""
        import pyarrow.parquet as pq

        from geohydra.ground import open_ground

        ground, path = open_ground(pair.scene), pair.file("parcels")
        if ground is None or path is None:
            return {}
        table = pq.read_table(path, columns=["id", self.task.value])
        ids = table["id"].to_numpy()
        truth, answer = self.task.truth(ground)[ids - 1], table[self.task.value].to_numpy().astype(np.float64)
        kept = np.isin(ids, parcels_of_split(pair)) & np.isfinite(truth) & np.isfinite(answer)
        return {"id": ids[kept], "truth": truth[kept], "prediction": answer[kept]} if kept.any() else {}

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, a picture and metrics."""
        known = {pair.scene.id: found for pair, found in zip(pairs, counts, strict=True) if found}
        if not known:
            work.say(f"{split}: no parcel has both a number and a prediction, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        prefix = "" if split == settings.splits[-1] else f"{split}_"
        total = _errors(known.values())
        _write(work.report, known, prefix)
        show_errors(work.report, total, prefix=prefix, split=split)
        scores = total.scores()
        ours = f"{split}: RMSE {scores['rmse']:.4g}, R2 {scores['r2']:.3f} of {total.count} parcels"
        line = f"{ours} (the mean everywhere gives {scores['baseline_rmse']:.4g} and 0)"
        work.say(line)
        work.report.note(line)
        return {"metrics": scores, "thresholds": {}}


def _errors(parts: Any) -> Errors:
    found = Errors()
    for part in parts:
        found.add(part["truth"], part["prediction"])
    return found


def _write(report: Report, known: Mapping[str, Mapping[str, NDArray[Any]]], prefix: str) -> None:
    """A row a scene, and a row a parcel."""
    rows = [{"scene": name, "parcels": len(part["id"]), **_errors([part]).scores()} for name, part in known.items()]
    report.table(f"{prefix}per_scene", {key: [row[key] for row in rows] for key in rows[0]})
    columns: dict[str, list[Any]] = {"scene": [name for name, part in known.items() for _ in part["id"]]}
    columns |= {key: np.concatenate([part[key] for part in known.values()]).tolist() for key in ("id", "truth", "prediction")}
    report.table(f"{prefix}parcels", columns)
