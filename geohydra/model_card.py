"""What a person wants to know of a trained model, as a page in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def model_card(name: str, details: Mapping[str, Any]) -> str:
    """The page of a model folder: `details` is the content of its `model.json`."""
    metrics = sorted(details["metrics"].items())
    headline = [line for line in metrics if line[0].count("/") == 1] or metrics
    parts = [
        f"# {name}",
        f"A model of geohydra for `{details['task']['_target_'].rsplit('.', 1)[-1]}`.",
        _table(("", ""), [("classes", ", ".join(details["classes"])), ("bands, in this order", ", ".join(details["bands"]))]),
        "## Scores",
        "Measured on whole scenes, over the regions of each split. `baseline` is the most frequent class everywhere.",
        _table(("metric", "value"), [(key, f"{value:.4f}") for key, value in headline]),
        "## Pixels",
        "Pixels are given as the source has them; each band is normalised by what the training regions held.",
        _table(("band", "mean", "deviation"), [(band, f"{s['mean']:.6g}", f"{s['std']:.6g}") for band, s in details["statistics"].items()]),
        "## Use",
        "```bash\ngeohydra predict bundle.uri=THIS_FOLDER source.images='images/*.tif'\n```",
        f"Network: `{json.dumps(details['model'])}`. Versions: {_listed(details['versions'])}.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
