"""Shards, conditions, parameters, jobs and the last task: kfp's own runner makes of a compiled file what geohydra makes here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from geohydra.errors import ConfigError
from geohydra.identity import fingerprint
from geohydra.pipeline import graph
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.documents import Compiled
from geohydra.pipeline.render import compile_plan
from geohydra.pipeline.runners.kfp_graph import steps_by_path
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.plan import Plan, PlannedStep, make_plan
from geohydra.work import read_manifest

from ..conftest import Watch
from .conftest import HARDWARE, Kfp, Run, numbers

CONFIG: dict[str, Any] = {"n": 7, "scale": 2}


def compiled(plan: Plan, folder: Path, *keys: str, **settings: Any) -> Compiled:
    parameters = {key: (key,) for key in keys}
    return compile_plan(
        plan, folder / "p.yaml", store=str(folder / "store"), hardware=HARDWARE, image="python", parameters=parameters, **settings
    )


def content(uri: str) -> list[dict[str, Any]]:
    manifest = read_manifest(uri)
    assert manifest is not None, uri
    return [file for file in manifest["files"] if not file["path"].startswith("report/")]


def same_outputs(plan: Plan, here: str, there: str) -> bool:
    return all(content(locate(plan, here)[step.id]) == content(locate(plan, there)[step.id]) for step in plan.whole().steps)


def runs(store: Path) -> Mapping[str, Any]:
    (outcome,) = (store / "runs").glob("*/outcome.json")
    return {step["id"]: step for step in json.loads(outcome.read_text())["steps"]}


def test_shards_do_not_change_what_a_plan_makes(run: Run, tmp_path: Path) -> None:
    whole, divided = make_plan("p", [numbers(CONFIG)]), make_plan("p", [numbers(CONFIG, shards=3)])

    run(whole, store=str(tmp_path / "whole"))
    run(divided, store=str(tmp_path / "divided"))

    assert [step.fingerprint for step in divided.whole().steps] == [step.fingerprint for step in whole.steps]
    assert same_outputs(whole, str(tmp_path / "whole"), str(tmp_path / "divided"))


def test_where_the_whole_is_stored_no_shard_is_made(run: Run, watch: Watch, tmp_path: Path) -> None:
    run(make_plan("p", [numbers(CONFIG)]))

    outcome = run(make_plan("p", [numbers(CONFIG, shards=3)]))

    assert set(outcome.jobs.values()) == {"stored"}
    assert watch.statuses("squares.1of3") == ["stored"]


def test_a_shard_that_fails_fails_the_job_and_tells_why(run: Run) -> None:
    outcome = run(make_plan("p", [numbers({"n": 3, "scale": None}, shards=2)]), retries=0)

    assert outcome.steps["squares.2of2"].status == "failed"
    assert outcome.steps["squares"].status == "skipped"
    assert outcome.jobs == {"numbers": "failed"}


@pytest.mark.parametrize(("when", "status"), [("test/iou >= 0.7", "done"), ("test/iou > 0.7", "withheld"), ("always", "done")])
def test_a_step_is_done_only_where_its_condition_holds(run: Run, when: str, status: str) -> None:
    outcome = run(make_plan("p", [numbers(CONFIG, when=when)]))

    assert outcome.steps["release"].status == status
    assert outcome.jobs == {"numbers": "done"}
    assert outcome.exit_code == 0
    if status == "withheld":
        assert str(outcome.steps["release"].error) == "step release: not done: it takes test/iou > 0.7 (test/iou is 0.7)"


@pytest.mark.slow
def test_kfp_runs_shards_and_a_guarded_step_as_we_do(run: Run, run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers(CONFIG, shards=3, when="test/iou >= 0.7")])
    run(plan, store=str(tmp_path / "ours"))

    run_with_kfp(compiled(plan, tmp_path).path)

    assert same_outputs(plan, str(tmp_path / "ours"), str(tmp_path / "store"))
    assert {step["status"] for step in runs(tmp_path / "store").values()} == {"done"}


@pytest.mark.slow
def test_kfp_withholds_what_we_withhold(run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers(CONFIG, when="test/iou > 0.7 or test/unknown > 1")])

    run_with_kfp(compiled(plan, tmp_path).path)

    assert set(stored_steps(plan, str(tmp_path / "store"))) == {"number", "squares"}
    assert runs(tmp_path / "store")["release"]["status"] == "withheld"


@pytest.mark.slow
@pytest.mark.parametrize("scales", [(2,), (1, 2)])
def test_shards_with_a_graph_of_their_own_make_the_same(
    run: Run, run_with_kfp: Kfp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scales: tuple[int, ...]
) -> None:
    monkeypatch.setattr(graph, "MOST_FLAT", 3)
    plan = make_plan("p", [numbers({"n": 5, "scale": scale}, shards=3, name=f"p-{scale}") for scale in scales])
    run(plan, store=str(tmp_path / "ours"))

    file = compiled(plan, tmp_path)
    run_with_kfp(file.path)

    spec = yaml.safe_load(file.path.read_text())
    assert len(spec["components"]["comp-squares-shards"]["dag"]["tasks"]) == 4
    known = steps_by_path(spec, plan, graph.make_graph(plan, {}))
    assert sorted(step.id for step in known.values()) == sorted(step.id for step in plan.steps)
    assert same_outputs(plan, str(tmp_path / "ours"), str(tmp_path / "store"))
    assert {step["status"] for step in runs(tmp_path / "store").values()} == {"done"}


def test_a_graph_of_shards_that_is_too_large_is_refused_with_how_many_fit(
    steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MOST_FLAT", 20)
    keys = [f"scale.key_{place}" for place in range(60)]
    plan = make_plan("p", [numbers({"n": 5, "scale": {key.partition(".")[2]: 1 for key in keys}}, shards=32)])

    with pytest.raises(ConfigError, match=r"the graph has [\d,]+ bytes, and a cluster takes 100,000.*about \d+ shards fit"):
        compiled(plan, tmp_path, *keys)


@pytest.mark.slow
def test_a_run_with_other_values_makes_what_a_plan_with_these_values_makes(run: Run, run_with_kfp: Kfp, tmp_path: Path) -> None:
    def config(n: int, scale: float, when: str) -> dict[str, Any]:
        return {"n": n, "scale": scale, "deploy": {"when": when}}

    file = compiled(
        make_plan("p", [numbers(config(7, 2.0, "always"), shards=2, when="always")]), tmp_path, "n", "scale", "deploy.when"
    ).path
    changed = make_plan("p", [numbers(config(8, 3.0, "test/iou > 0.5"), shards=2, when="test/iou > 0.5")])
    run(changed, store=str(tmp_path / "ours"))

    run_with_kfp(file, n=8, scale=3.0, deploy_when="test/iou > 0.5")

    assert same_outputs(changed, str(tmp_path / "ours"), str(tmp_path / "store"))
    assert {step["status"] for step in runs(tmp_path / "store").values()} == {"done"}


@pytest.mark.slow
def test_jobs_of_a_sweep_are_equal_graphs_that_share_what_they_share(run: Run, run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers({"n": 5, "scale": scale}, shards=2, when="test/iou > 0", name=f"p-{scale}") for scale in range(1, 5)])
    run(plan, store=str(tmp_path / "ours"))

    file = compiled(plan, tmp_path)
    run_with_kfp(file.path)

    components = yaml.safe_load(file.path.read_text())["components"]
    assert [name for name in components if name.startswith("comp-job")] == ["comp-job"]
    assert [name for name in components if "number" in name] == ["comp-plugged-number"]
    assert file.tasks == 1 + 4 * (3 + 2) + 1
    assert same_outputs(plan, str(tmp_path / "ours"), str(tmp_path / "store"))
    assert {step["status"] for step in runs(tmp_path / "store").values()} == {"done"}


@pytest.mark.slow
def test_the_last_task_compares_the_jobs_of_a_sweep(run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers({"n": 5, "scale": scale}, name=f"p-{scale}") for scale in range(1, 4)])

    run_with_kfp(compiled(plan, tmp_path).path)

    (table,) = (tmp_path / "store" / "runs").glob("*/comparison/comparison.csv")
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ['"job"', '"p-1"', '"p-2"', '"p-3"']
    (page,) = (tmp_path / "root").rglob("report/report")
    assert "3 jobs" in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("given", "head"), [({}, ""), ({"n": 8}, "# The run was started with n=8, which has to be added.\n")])
def test_the_last_task_keeps_the_config_of_the_best_job(run_with_kfp: Kfp, tmp_path: Path, given: dict[str, int], head: str) -> None:
    sweep = {"goal": "test/iou:max"}
    plan = make_plan("p", [numbers({"n": 5, "scale": scale, "sweep": sweep}, name=f"p-{scale}") for scale in (1, 2)])
    recipes = {f"p-{scale}": f"# @package _global_\nscale: {scale}\n" for scale in (1, 2)}
    place, parameters = tmp_path / "p.yaml", {"n": ("n",)}
    compile_plan(plan, place, store=str(tmp_path / "store"), hardware=HARDWARE, image="x", parameters=parameters, recipes=recipes)

    run_with_kfp(place, **given)

    (best,) = (tmp_path / "store" / "runs").glob("*/conf/experiment/best.yaml")
    assert best.read_text() == f"# @package _global_\n{head}scale: 1\n"
    (page,) = (tmp_path / "root").rglob("report/report")
    assert "scale: 1" in page.read_text()


@pytest.mark.slow
def test_a_step_behind_all_jobs_gets_what_each_of_them_made(run: Run, run_with_kfp: Kfp, steps: Path, tmp_path: Path) -> None:
    code = "VERSION = 1\ndef run(config, work):\n    found = [(work.input(name) / 'sum.txt').read_text() for name in sorted(work.inputs)]\n"
    (steps / "plugged" / "gather.py").write_text(code + "    (work.out / 'all.txt').write_text(' '.join(found))\n")
    plan = make_plan("p", [numbers({"n": 5, "scale": scale}, name=f"p-{scale}") for scale in (1, 2)])
    needs = {f"job_{place}": job.steps["release"] for place, job in enumerate(plan.jobs)}
    marks = {name: plan.step(identity).fingerprint for name, identity in needs.items()}
    identity = fingerprint("plugged.gather", version=1, config={}, needs=marks)
    last = PlannedStep("gather", "plugged.gather", {}, needs, "cpu", identity, ("p-1", "p-2"), "gather")
    plan = replace(plan, steps=(*plan.steps, last))

    run_with_kfp(compiled(plan, tmp_path).path)

    assert (Path(locate(plan, str(tmp_path / "store"))["gather"]) / "all.txt").read_text() == "30 60"
    assert {step["status"] for step in runs(tmp_path / "store").values()} == {"done"}


@pytest.mark.slow
def test_the_last_task_tells_why_a_run_failed(run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers({"n": -1, "scale": 2})])

    with pytest.raises(RuntimeError):
        run_with_kfp(compiled(plan, tmp_path).path)

    found = runs(tmp_path / "store")
    assert {name: step["status"] for name, step in found.items()} == {"number": "failed", "squares": "skipped", "release": "skipped"}
    assert "ValueError: a number below zero" in found["number"]["error"]["problem"]
    (report,) = (tmp_path / "store" / "runs").glob("*/failure.md")
    assert "a number below zero" in report.read_text()
    (page,) = (tmp_path / "root").rglob("report/report")
    assert "a number below zero" in page.read_text()


def test_without_a_report_there_is_no_last_task(run_with_kfp: Kfp, tmp_path: Path) -> None:
    plan = make_plan("p", [numbers(CONFIG)])

    file = compiled(plan, tmp_path, cluster=Cluster(report=False))

    assert file.tasks == 3
    assert "exit-handler" not in file.path.read_text()
