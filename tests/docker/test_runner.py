"""The runner for containers, on a real engine: what it makes is what the local one makes, and what goes wrong is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from geohydra.pipeline.runners import Outcome
from geohydra.pipeline.runners.docker import DockerRunner
from geohydra.pipeline.runners.docker_engine import LABEL
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.work import read_manifest

from ..conftest import Watch

pytestmark = pytest.mark.slow

HARDWARE = {"cpu": {"cpu": 1, "memory": 1}, "small": {"cpu": 1, "memory": 0.2, "retries": 1, "backoff": {"first": "1s"}}}

STEPS = {
    "number": """
        import os
        VERSION = 1
        def run(config, work):
            (work.out / "n.txt").write_text(str(config["n"]))
            work.report.metrics({"test/iou": config["n"] / 10})
            work.progress(1, 1, f"user {os.getuid()}, memory {work.resources.memory_gb:g}")
    """,
    "squares": """
        import json
        VERSION = 1
        def run(config, work):
            count = int((work.input("number") / "n.txt").read_text())
            (work.out / "squares.json").write_text(json.dumps({number: number**2 for number in work.share(range(count))}))
        def merge(config, work):
            found = {}
            for folder in work.made():
                found |= json.loads((folder / "squares.json").read_text())
            (work.out / "squares.json").write_text(json.dumps(found))
    """,
    "reading": """
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            place = Path(config["place"])
            (work.out / "read.txt").write_text(place.read_text())
            try:
                (place.parent / "written.txt").write_text("no")
            except OSError as error:
                work.say(f"cannot write: {error.strerror}")
    """,
    "mistaken": """
        from geohydra.errors import DataError
        VERSION = 1
        def run(config, work):
            raise DataError("images/a.tif", "it has no CRS", "give it one")
    """,
    "broken": """
        VERSION = 1
        def run(config, work):
            raise ZeroDivisionError("no number is that large")
    """,
    "greedy": """
        VERSION = 1
        def run(config, work):
            held = [bytearray(50_000_000) for _ in range(40)]
            (work.out / "held.txt").write_text(str(len(held)))
    """,
    "rough": """
        import os
        VERSION = 1
        def run(config, work):
            os.write(1, bytes([0xff, 0xfe, 10]))
            (work.out / "a.txt").write_text("a")
    """,
    "learning": """
        import time
        VERSION = 1
        def run(config, work):
            for epoch in range(60):
                work.report.curve({"val/iou": 0.01}, step=epoch)
                time.sleep(0.1)
    """,
    "asleep": """
        import time
        VERSION = 1
        def run(config, work):
            work.progress(1, 10, "asleep")
            time.sleep(600)
    """,
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of steps that somebody trusts."""
    package = tmp_path / "packages" / "boxed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name, text in STEPS.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    for name in [name for name in sys.modules if name.split(".")[0] == "boxed"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "boxed")
    monkeypatch.setenv("GEOHYDRA_CACHE", str(tmp_path / "cache"))
    return package.parent


Run = Callable[..., Outcome]


@pytest.fixture
def run(engine: Any, packages: Path, tmp_path: Path, watch: Watch) -> Run:
    """Runs a plan in containers that reach nothing."""

    def call(plan: Plan, *, store: str = "", **settings: Any) -> Outcome:
        given = {"network": "none", "folders": [str(packages)], "env": {"PYTHONPATH": str(packages)}, "variables": ["GEOHYDRA_PLUGINS"]}
        runner = DockerRunner(**(given | settings))
        return runner.run(plan, store=store or str(tmp_path / "store"), hardware=HARDWARE, folder=tmp_path / "run", listener=watch)

    return call


def planned(config: Mapping[str, Any], *stages: Stage) -> Plan:
    return make_plan("boxed", [Job("job", config, stages)])


def stage(step: str, *needs: str, uses: tuple[str, ...] = (), role: str = "cpu", **more: Any) -> Stage:
    return Stage(step, f"boxed.{step}", 1, needs, uses, role, **more)


def numbers(**more: Any) -> Plan:
    return planned({"n": 5}, stage("number", uses=("n",)), stage("squares", "number", **more))


def test_a_plan_with_shards_runs_to_results_in_the_store(run: Run, watch: Watch, tmp_path: Path) -> None:
    outcome = run(numbers(shards=2))

    assert (outcome.exit_code, outcome.jobs) == (0, {"job": "done"})
    assert json.loads(Path(outcome.steps["squares"].uri, "squares.json").read_text()) == {str(n): n**2 for n in range(5)}
    assert watch.statuses("number") == ["running", "done"]
    assert ("number", {"progress": 1, "total": 1, "text": f"user {os.getuid()}, memory 1"}) in watch.events
    assert "1/1 user" in (tmp_path / "run" / "logs" / "number.log").read_text()
    assert not (tmp_path / "run" / "kfp").exists()


def test_jobs_of_a_sweep_are_one_run(run: Run) -> None:
    stages = (stage("number", uses=("n",)), stage("squares", "number"))

    outcome = run(make_plan("boxed", [Job(f"job-{n}", {"n": n}, stages) for n in (2, 3)]))

    assert outcome.jobs == {"job-2": "done", "job-3": "done"}


def test_what_the_store_holds_gets_no_container(run: Run, watch: Watch, tmp_path: Path) -> None:
    run(planned({"n": 5}, stage("number", uses=("n",))))
    outcome = run(numbers())
    again = run(numbers(), image="registry.invalid/nothing:1")

    assert [step.status for step in outcome.steps.values()] == ["stored", "done"]
    assert watch.statuses("number") == ["running", "done", "stored", "stored"]
    assert again.jobs == {"job": "stored"}


@pytest.mark.parametrize(("when", "status"), [("test/iou >= 0.4", "done"), ("test/iou >= 0.9", "withheld")])
def test_a_condition_is_asked_inside_too(run: Run, when: str, status: str) -> None:
    outcome = run(numbers(when=when))

    assert outcome.exit_code == 0
    assert outcome.steps["squares"].status == status


def test_a_store_of_objects_is_reached_with_variables_handed_on_by_name(run: Run, s3: str, tmp_path: Path) -> None:
    names = ["GEOHYDRA_PLUGINS", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"]

    outcome = run(numbers(), store=f"{s3}/store", network="host", variables=names)

    assert outcome.exit_code == 0, outcome
    assert all(read_manifest(step.uri) is not None for step in outcome.steps.values())
    assert not (tmp_path / "store").exists()


def test_outputs_belong_to_who_ran_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can run as somebody else")
    for place in (tmp_path, *(tmp_path / name for name in ("store", "run", "cache"))):
        place.mkdir(exist_ok=True)
        os.chown(place, 4711, 4712)
    for place in tmp_path.parents[:2]:
        place.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    monkeypatch.setattr(os, "getgid", lambda: 4712)

    outcome = run(numbers())

    made = [Path(step.uri) for step in outcome.steps.values()]
    assert outcome.exit_code == 0, outcome
    assert {(path.stat().st_uid, path.stat().st_gid) for place in made for path in (place, *place.rglob("*"))} == {(4711, 4712)}


def test_files_that_the_config_names_can_be_read_and_not_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("words")
    config = {"place": str(tmp_path / "data" / "a.txt")}

    outcome = run(planned(config, stage("reading", uses=("place",))))

    assert Path(outcome.steps["reading"].uri, "read.txt").read_text() == "words"
    assert "cannot write: Read-only file system" in (tmp_path / "run" / "logs" / "reading.log").read_text()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.txt"]


def test_a_step_that_fails_ends_with_its_own_words_and_others_go_on(run: Run, watch: Watch) -> None:
    config = {"n": 3}
    outcome = run(planned(config, stage("mistaken"), stage("squares", "mistaken"), stage("number", uses=("n",))))

    failed = outcome.steps["mistaken"]
    assert outcome.exit_code == 3
    assert failed.error is not None
    assert (failed.error.problem, failed.error.hint) == ("images/a.tif: it has no CRS", "give it one")
    assert {outcome.steps["squares"].status, outcome.steps["number"].status} == {"skipped", "done"}
    assert failed.log is not None
    assert "it has no CRS" in failed.log.read_text()


def test_a_crash_ends_with_the_last_line_of_its_traceback(run: Run) -> None:
    outcome = run(planned({}, stage("broken")))

    assert outcome.exit_code == 5
    assert "ZeroDivisionError: no number is that large; its log tells more" in str(outcome.steps["broken"].error)


def test_too_little_memory_is_named_with_the_setting_to_raise(run: Run, watch: Watch) -> None:
    outcome = run(planned({}, stage("greedy", role="small")))

    told = str(outcome.steps["greedy"].error)
    assert outcome.exit_code == 5
    assert "it ran out of memory and was killed" in told
    assert "raise hardware.small.memory (it has 0.2 GB)" in told
    assert watch.statuses("greedy") == ["running", "retried", "running", "failed"]


class Hopeless(Watch):
    """Gives every job up at its third epoch."""

    def gives_up(self, identity: str) -> str:
        return "others are better" if len(self.events) > 2 else ""


def test_a_step_without_hope_is_given_up_and_can_be_wanted_again(run: Run, watch: Watch, packages: Path, tmp_path: Path) -> None:
    plan, hopeless = planned({}, stage("learning")), Hopeless()
    runner = DockerRunner(network="none", folders=[str(packages)], env={"PYTHONPATH": str(packages), "GEOHYDRA_PLUGINS": "boxed"})

    given_up = runner.run(plan, store=str(tmp_path / "store"), hardware=HARDWARE, folder=tmp_path / "one", listener=hopeless)
    again = run(plan)

    assert given_up.jobs == {"job": "pruned"}
    assert str(given_up.steps["learning"].error) == "step learning: others are better"
    assert again.jobs == {"job": "done"}


def test_a_log_that_is_no_text_does_not_fail_a_step(run: Run) -> None:
    outcome = run(planned({}, stage("rough")))

    assert outcome.exit_code == 0, outcome


def test_an_image_that_is_not_there_is_said_before_anything_starts(run: Run) -> None:
    from geohydra.errors import ConfigError

    with pytest.raises(ConfigError, match=r"the engine has no image nothing:1; build it: docker build"):
        run(numbers(), image="nothing:1")
    with pytest.raises(ConfigError, match=r"the image 127.0.0.1:9/nothing:1 is not here, and cannot be pulled"):
        run(numbers(), image="127.0.0.1:9/nothing:1")


def test_a_network_that_is_not_there_is_said(run: Run) -> None:
    outcome = run(planned({"n": 1}, stage("number", uses=("n",))), network="nowhere")

    assert "the engine has no such network" in str(outcome.steps["number"].error)


def test_ctrl_c_leaves_no_container(engine: Any, packages: Path, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(
        textwrap.dedent(f"""
            from pathlib import Path
            from geohydra.pipeline.progress import watching
            from geohydra.pipeline.runners.docker import DockerRunner
            from geohydra.plan import Job, Stage, make_plan
            plan = make_plan("boxed", [Job("job", {{}}, (Stage("asleep", "boxed.asleep", 1, (), (), "cpu"),))])
            runner = DockerRunner(network="none", folders=[{str(packages)!r}], env={{"PYTHONPATH": {str(packages)!r}}},
                                  variables=["GEOHYDRA_PLUGINS"])
            with watching(plan) as listener:
                outcome = runner.run(plan, store={str(tmp_path / "store")!r}, hardware={HARDWARE!r}, folder=Path("run"), listener=listener)
            raise SystemExit(outcome.exit_code)
        """)
    )
    path = os.pathsep.join([str(packages), str(Path(__file__).parents[2])])
    command = [sys.executable, str(tmp_path / "driver.py")]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    log = tmp_path / "run" / "logs" / "asleep.log"
    while time.monotonic() < deadline and not (log.exists() and "1/10 asleep" in log.read_text()):
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)

    assert process.returncode == 130, said
    assert "stopping asleep" in said
    assert engine.containers.list(all=True, filters={"label": LABEL}) == []


SMALL = (
    *("experiment=quick", "source.size=256", "chip.size=64", "predict.window=64", "train.epochs=1", "train.batch_size=4"),
    *("model.encoder=mobilenet_v2", "tracking=none", "bundle.registered_name=null"),
)

TELLING = {
    "bundle": {"bundle/MLmodel", "bundle/README.md", "bundle/conda.yaml", "bundle/model.json", "bundle/python_env.yaml"},
    "predict": {"report/metrics.json", "report/report.html"},
    "train": {"model/model.json", "report/curves.jsonl", "report/figures/training.png", "report/report.html"},
}
"""Files that tell when, where and how fast they were made, and by which Python."""


def test_the_demo_in_containers_makes_the_same_bytes_as_without(engine: Any, tmp_path: Path) -> None:
    made = {}
    for name, words in (("local", ()), ("docker", ("runner=docker", "runner.network=none"))):
        store = tmp_path / f"store-{name}"
        command = [sys.executable, "-m", "geohydra", *SMALL, f"store={store}", *words]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "test/iou" in ran.stdout
        made[name] = {path.relative_to(store).parent.as_posix(): files_of(path.parent) for path in store.glob("*/*/manifest.json")}

    assert len(made["docker"]) == 7
    assert made["docker"] == made["local"]


def files_of(place: Path) -> dict[str, str]:
    """Digests of an output's files, without those that tell of the machine."""
    manifest = read_manifest(str(place))
    assert manifest is not None
    return {file["path"]: file["sha256"] for file in manifest["files"] if file["path"] not in TELLING.get(manifest["step"], set())}
