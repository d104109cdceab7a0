"""The bundle step: a trained model with all that prediction needs, checked by loading it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from geohydra.build import build
from geohydra.errors import StepError
from geohydra.work import Config, Work

VERSION = 1


def run(config: Config, work: Work) -> None:
    """Needs train and evaluate; writes `bundle/`: a model folder, a card to read, and an MLflow model."""
    from geohydra.bundle import read_details
    from geohydra.model_card import model_card
    from geohydra.prediction.served import served
    from geohydra.tracking import pyfunc

    trained = work.input("train") / "model"
    scores = json.loads((work.input("evaluate") / "metrics.json").read_text())
    folder = work.out / "bundle"
    shutil.copytree(trained, folder)
    details = read_details(folder)
    details["metrics"] = {**details["metrics"], **scores["metrics"]}
    details["best_thresholds"] = scores["thresholds"]
    (folder / "model.json").write_text(json.dumps(details, indent=1))
    (folder / "README.md").write_text(model_card(config["name"], details))
    task, model = (build(details[key], where=key) for key in ("task", "model"))
    form = served(task, model, classes=details["classes"], thresholds=details["thresholds"])
    pyfunc.save(
        *(folder, folder),
        bands=details["bands"],
        classes=details["classes"],
        finds=getattr(model, "answers", "pixels") == "objects",
        inputs=form.inputs(len(details["bands"])),
        outputs=(form.decision.dtype, form.shape),
    )
    _check(trained, folder, work)
    work.report.metrics(scores["metrics"])
    work.report.note("The bundle gives the same answers as the trained model.")


def _check(trained: Path, bundle: Path, work: Work) -> None:
    """Raise StepError where the bundle does not answer as the trained model does."""
    import numpy as np

    from geohydra.bundle import load_model

    models = [load_model(folder, device="cpu", threads=work.resources.cpu) for folder in (trained, bundle)]
    rows, cols = models[0].details["chip"]
    batch = np.random.default_rng(0).standard_normal((1, len(models[0].bands), rows, cols)).astype(np.float32)
    first, second = (model.forward(batch) for model in models)
    if not np.allclose(first, second, rtol=1e-4, atol=1e-5):
        raise StepError(str(bundle), "the bundle does not answer as the trained model does", "run the train step again")
