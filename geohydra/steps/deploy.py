"""The deploy step: release a bundle under its name. Whoever runs the plan registers what this step releases."""

from __future__ import annotations

import json

from geohydra.conditions import parse_condition
from geohydra.work import Config, Work

VERSION = 1


class Deployment:
    """Whether a trained model is good enough to be registered under its name and alias.

    `when`: a condition on the metrics of evaluate and bundle, such as `test/iou >= 0.7 and test/iou/water > 0.5`; `always`; or null,
    and then there is no deploy step: every bundle is registered.
    """

    def __init__(self, *, when: str | None = None) -> None:
        self.when = None if when is None else parse_condition(when, where="when").text


def run(config: Config, work: Work) -> None:
    """Needs bundle, and evaluate for its metrics; writes `deploy.json`: as what its bundle is released, and why."""
    from geohydra.report import read_metrics

    metrics = read_metrics(work.input("bundle") / "report") | read_metrics(work.input("evaluate") / "report")
    condition = parse_condition(config["deploy"]["when"], where="deploy.when")
    settings = config["bundle"]
    release = {"name": settings["registered_name"], "alias": settings["alias"], "when": condition.text}
    (work.out / "deploy.json").write_text(json.dumps(release, indent=1))
    known = {name: metrics[name] for name in condition.names if name in metrics}
    work.report.metrics({f"deploy/{name}": value for name, value in known.items()})
    work.report.note(f"Released: {condition.told(metrics)}.")
    work.say(f"released: {condition.told(metrics)}")
