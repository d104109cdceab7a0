"""The predict step: a trained model over every scene, each finished one kept if the step is stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import storage
from geohydra.build import build
from geohydra.errors import ConfigError, DataError, GeohydraError, Problems, StepError
from geohydra.report import read_metrics
from geohydra.task import Summing, viewed
from geohydra.work import Config, Work

if TYPE_CHECKING:
    from geohydra.task import Trained
    from geohydra.types import Scene

VERSION = 1

_PICTURES = 6


def run(config: Config, work: Work) -> None:
    """Needs ingest, and train unless `bundle.uri` names a model; writes `index.json` and a folder for each scene."""
    from geohydra import catalogue
    from geohydra.ensemble import load_models

    settings = build(config["predict"], where="predict")
    trained = load_models(_model_folders(config, work), device=work.resources.device, threads=work.resources.cpu)
    task = build(config.get("task") or trained.details["task"], where="task")
    scenes = viewed(task, catalogue.read(work.input("ingest")))
    _check_bands(scenes, trained)
    started, rows = time.monotonic(), []
    shown = {scene.id: settings.of_scene(place, len(scenes)) for place, scene in enumerate(scenes)}
    scenes = list(work.share(scenes))
    for place, scene in enumerate(scenes):
        work.say(f"scene {place + 1} of {len(scenes)}: {scene.id}")
        with work.part(place, len(scenes)):
            rows.append(_kept(work, scene.id) or _keep(work, task.predict(scene, trained, shown[scene.id], work.state / scene.id, work)))
    for scene in scenes:
        shutil.copytree(work.state / scene.id, work.out / scene.id, copy_function=storage.link)
    _sum_up(task, rows, work)
    (work.out / "index.json").write_text(json.dumps(rows, indent=1))
    _report(work, rows, time.monotonic() - started)


def merge(config: Config, work: Work) -> None:
    """Put together what shards predicted, in the order of the scenes: the same files as if one step had predicted all."""
    from geohydra.bundle import read_details

    made = work.made()
    shares = [json.loads((folder / "index.json").read_text()) for folder in made]
    whole = sum(map(len, shares))
    if any(len(share) != len(range(place, whole, len(made))) for place, share in enumerate(shares)):
        raise StepError("predict", "the shards do not make a whole", "they are of different runs: run the predict step again")
    rows = []
    for place in range(whole):
        folder, row = made[place % len(made)], shares[place % len(made)][place // len(made)]
        shutil.copytree(folder / row["scene"], work.out / row["scene"], copy_function=storage.link)
        rows.append(row)
    node = config.get("task") or read_details(_model_folders(config, work)[0])["task"]
    _sum_up(build(node, where="task"), rows, work)
    (work.out / "index.json").write_text(json.dumps(rows, indent=1))
    _report(work, rows, sum(read_metrics(folder / "report").get("predict/seconds", 0.0) for folder in made))


def _sum_up(task: Any, rows: Sequence[dict[str, Any]], work: Work) -> None:
    """What a task tells of all scenes together."""
    if rows and isinstance(task, Summing):
        task.sum_up(rows, work)


def _model_folders(config: Config, work: Work) -> list[Path]:
    """The train step's model, else those that `bundle.uri` names: model folders, or outputs of a bundle step."""
    if "train" in work.inputs:
        return [work.input("train") / "model"]
    uri = (config.get("bundle") or {}).get("uri")
    if not uri:
        raise ConfigError("bundle.uri", "a trained model is needed", "set bundle.uri=FOLDER, such as the output of a bundle step")
    folders = [storage.fetch(one) for one in (uri if isinstance(uri, list) else [uri])]
    return [folder / "bundle" if (folder / "bundle").is_dir() else folder for folder in folders]


def _check_bands(scenes: Sequence[Scene], trained: Trained) -> None:
    """Every scene that the model cannot read, before the first one is predicted."""
    errors: list[GeohydraError] = []
    for scene in scenes:
        missing = [band for band in trained.bands if band not in scene.bands]
        if missing:
            problem = f"the model needs the bands {', '.join(trained.bands)}, and this scene has no {', '.join(missing)}"
            errors.append(
                DataError(scene.id, problem, f"it has {', '.join(scene.bands)}; name the bands of the source as the model knows them")
            )
    if errors:
        raise errors[0] if len(errors) == 1 else Problems(errors)


def _kept(work: Work, scene: str) -> dict[str, Any] | None:
    """The row of a scene that was finished before the step was stopped."""
    path = work.state / f"{scene}.json"
    return dict(json.loads(path.read_text())) if path.exists() and (work.state / scene).is_dir() else None


def _keep(work: Work, row: dict[str, Any]) -> dict[str, Any]:
    storage.write_bytes(str(work.state / f"{row['scene']}.json"), json.dumps(row).encode())
    return row


def _report(work: Work, rows: Sequence[dict[str, Any]], seconds: float) -> None:
    megapixels = sum(float(row.get("pixels", 0)) for row in rows) / 1e6
    work.report.metrics({"predict/scenes": len(rows), "predict/megapixels": megapixels, "predict/seconds": seconds})
    if rows:
        names = [name for name in rows[0] if all(name in row for row in rows)]
        work.report.table("predictions", {name: [row[name] for row in rows] for name in names})
    drawn = [row for row in rows if "quicklook" in row]
    for row in drawn[:: max(1, -(-len(drawn) // _PICTURES))]:
        work.report.figure(f"scene_{row['scene']}", (work.out / row["quicklook"]).read_bytes())
    work.say(f"{len(rows)} scenes, {megapixels:.1f} million measured pixels in {seconds:.1f} s")
