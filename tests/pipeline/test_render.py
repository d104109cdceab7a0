"""Rendering: a cluster takes the file, it says the same every time, and kfp's own runner makes what ours makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import geohydra.pipeline.documents as documents_module
from geohydra.errors import ConfigError
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.render import compile_plan, pipeline_name
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.work import Request, perform, read_manifest

HARDWARE: dict[str, dict[str, Any]] = {
    "cpu": {"cpu": 2, "memory": 4, "gpu": 0, "device": "cpu", "workers": 0},
    "gpu": {"cpu": 4, "memory": 16, "gpu": 1, "device": "cuda", "workers": 2},
}

STEPS = {
    "count": "work.report.metrics({'val/n': config['n']}); (work.out / 'n.txt').write_text(str(config['n']))",
    "double": "n = int((work.input('count') / 'n.txt').read_text()); (work.out / 'n.txt').write_text(config['text'] + str(2 * n))",
}


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two small steps in a package of somebody else's."""
    package = tmp_path / "packages" / "render_steps"
    package.mkdir(parents=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "render_steps"]:
        monkeypatch.delitem(sys.modules, name)
    (package / "__init__.py").write_text("")
    for name, body in STEPS.items():
        (package / f"{name}.py").write_text(f"VERSION = 1\n\n\ndef run(config, work):\n    {body}\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "render_steps")
    return "render_steps"


def plan_of(package: str, *numbers: int, text: str = "twice {{$.x}} is ") -> Plan:
    stages = (
        Stage("count", f"{package}.count", 1, (), ("n",), "cpu"),
        Stage("double", f"{package}.double", 1, ("count",), ("text",), "gpu"),
    )
    jobs = [Job(f"job-{number}", {"n": number, "text": text}, stages) for number in numbers]
    return make_plan("Render: a test", jobs)


def documents(path: Path) -> dict[str, Any]:
    return dict(next(iter(yaml.safe_load_all(path.read_text()))))


def test_the_same_plan_gives_the_same_file(steps: str, tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        compile_plan(plan_of(steps, 1, 2), tmp_path / name, image="geohydra:1", store="s3://b/store", hardware=HARDWARE)

    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()


def test_steps_shared_by_jobs_are_one_task(steps: str, tmp_path: Path) -> None:
    compiled = compile_plan(plan_of(steps, 1, 2), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    assert compiled.tasks == 4 + 1  # and the one that tells how it ended


def test_a_role_becomes_requests_and_limits(steps: str, tmp_path: Path) -> None:
    compile_plan(plan_of(steps, 1), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    executors = documents(tmp_path / "p.yaml")["deploymentSpec"]["executors"]
    asked = executors["exec-render-steps-double"]["container"]["resources"]
    assert asked["resourceCpuLimit"] == "4"
    assert asked["resourceMemoryLimit"] == "16G"
    assert asked["accelerator"]["resourceCount"] == "1"


def test_no_source_code_and_no_kfp_stand_in_the_file(steps: str, tmp_path: Path) -> None:
    compile_plan(plan_of(steps, 1), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    for executor in documents(tmp_path / "p.yaml")["deploymentSpec"]["executors"].values():
        assert executor["container"]["command"][:2] == ["python", "-m"]
        assert executor["container"]["command"][2] in ("geohydra.steps", "geohydra.pipeline.ending")
        assert executor["container"]["args"] == ["--executor-input", "{{$}}"]


def test_a_large_config_stands_in_the_store(steps: str, tmp_path: Path) -> None:
    plan = plan_of(steps, 1, text="x" * 50_000)

    compiled = compile_plan(plan, tmp_path / "p.yaml", image="i", store=str(tmp_path / "store"), hardware=HARDWARE)

    (kept,) = (tmp_path / "store" / "config").glob("*.json")
    assert json.loads(kept.read_text()) == plan.step("double").config
    assert compiled.file < 20_000


def test_more_than_a_cluster_takes_is_refused_and_nothing_is_written(steps: str, tmp_path: Path) -> None:
    plan = plan_of(steps, *range(300))

    with pytest.raises(ConfigError, match="a cluster takes"):
        compile_plan(plan, tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    assert list(tmp_path.glob("*.yaml")) == []


def test_a_config_with_a_credential_is_refused_and_nothing_is_written(steps: str, tmp_path: Path) -> None:
    plan = plan_of(steps, 1, text="https://user:geheim@example.org/a.tif")

    with pytest.raises(ConfigError, match=r"double\.text: this looks like a password in an address"):
        compile_plan(plan, tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    assert list(tmp_path.glob("*.yaml")) == []


def test_a_credential_beside_the_config_is_refused_too(steps: str, tmp_path: Path) -> None:
    cluster = Cluster(env={"HEADERS": "Bearer " + "abcdefghijklmnopqrstuvwxyz0123456789"})

    with pytest.raises(ConfigError, match="a bearer token"):
        compile_plan(plan_of(steps, 1), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE, cluster=cluster)

    assert list(tmp_path.glob("*.yaml")) == []


def test_sizes_are_told_beside_their_limits(steps: str, tmp_path: Path) -> None:
    compiled = compile_plan(plan_of(steps, *range(20)), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    assert {name for name, _, _ in compiled.sizes} == {"largest graph", "largest step", "all configs", "whole workflow"}
    assert all(0 < size < limit for _, size, limit in compiled.sizes)


@pytest.mark.parametrize(("where", "limit"), [("the graph", "LARGEST_ARGUMENT"), ("the whole file", "LARGEST_WORKFLOW")])
def test_every_limit_names_what_is_too_large(steps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, limit: str) -> None:
    monkeypatch.setattr(documents_module, limit, 2_000)

    with pytest.raises(ConfigError, match=f"{where} has .* a cluster takes 2,000; sweep fewer jobs"):
        compile_plan(plan_of(steps, *range(20)), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)


def test_a_step_with_a_path_too_long_for_a_name_is_refused(steps: str, tmp_path: Path) -> None:
    package = tmp_path / "packages" / "render_steps"
    (package / f"{'x' * 60}.py").write_text("VERSION = 1\ndef run(config, work):\n    pass\n")
    plan = make_plan("p", [Job("job", {}, (Stage("a", f"{steps}.{'x' * 60}", 1, (), (), "cpu"),))])

    with pytest.raises(ConfigError, match="a name of 73 characters"):
        compile_plan(plan, tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)


def test_the_first_document_is_what_the_format_says(steps: str, tmp_path: Path) -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    compile_plan(plan_of(steps, 1, 2), tmp_path / "p.yaml", image="i", store="s3://b", hardware=HARDWARE)

    (document,) = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
    assert spec.pipeline_info.name == "render-a-test"


@pytest.mark.parametrize(("name", "clean"), [("Roads & Rivers", "roads-rivers"), ("a_b", "a-b"), ("--x--", "x")])
def test_names_are_made_fit_for_a_cluster(name: str, clean: str) -> None:
    assert pipeline_name(name) == clean


@pytest.mark.parametrize("name", ["", "北京", "x" * 41])
def test_names_that_cannot_be_made_fit_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        pipeline_name(name)


def test_the_runner_of_kfp_makes_the_same_outputs(steps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, store = plan_of(steps, 3), str(tmp_path / "store")
    compile_plan(plan, tmp_path / "p.yaml", image="geohydra-python", store=store, hardware=HARDWARE)

    run_with_kfp(tmp_path / "p.yaml", tmp_path / "root", monkeypatch)

    ours = str(tmp_path / "ours")
    count = perform(Request(f"{steps}.count", plan.step("count").config, {}, ours))
    double = perform(Request(f"{steps}.double", plan.step("double").config, {"count": count}, ours))
    for uri in (count, double):
        theirs = read_manifest(uri.replace(ours, store))
        assert theirs is not None
        assert theirs["files"] == read_manifest(uri)["files"]  # type: ignore[index]


def run_with_kfp(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Execute a compiled file with kfp's local runner, on this machine's Python instead of in containers."""
    from kfp import components, local
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", lambda *_: None)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    return components.load_component_from_file(str(path))()
