"""A small package of real steps, as somebody else would bring one, and what runs and watches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from geohydra.pipeline.runners import Outcome
from geohydra.pipeline.runners.local import LocalRunner
from geohydra.plan import Job, Plan, Stage, make_plan

from ..conftest import Watch

HARDWARE = {"cpu": {"cpu": 1, "memory": 0.1}, "all": {"cpu": 64, "memory": 0.1}, "gpu": {"cpu": 1, "memory": 0.1, "gpu": 1}}

STEPS = {
    "note": """
        import time
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            with Path(config["notes"]).open("a") as stream:
                stream.write(f"start {config['name']} {time.time()}\\n")
            time.sleep(config.get("seconds", 0))
            (work.out / "name.txt").write_text(config["name"])
            work.report.metrics({"val/iou": 0.5})
            with Path(config["notes"]).open("a") as stream:
                stream.write(f"end {config['name']} {time.time()}\\n")
    """,
    "counting": """
        import os, signal, time
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            '''Counts to ten, keeps its place, and kills itself at numbers that it did not know before.'''
            (config,) = config.values()
            place = work.state / "place"
            seen = Path(config["notes"])
            for number in range(int(place.read_text()) if place.exists() else 0, 10):
                place.write_text(str(number + 1))
                with seen.open("a") as stream:
                    stream.write(f"{number}\\n")
                work.progress(number + 1, 10, "counting")
                if number in config["deadly"]:
                    os.kill(os.getpid(), getattr(signal, config.get("signal", "SIGKILL")))
                time.sleep(config.get("seconds", 0))
            (work.out / "sum.txt").write_text("45")
    """,
    "gated": """
        import time
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            with Path(config["notes"]).open("a") as stream:
                stream.write("in\\n")
            while not Path(config["gate"]).exists():
                time.sleep(0.02)
    """,
    "broken": """
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            (work.out / "half.txt").write_text("half")
            raise ZeroDivisionError("no number\\nis that large")
    """,
    "mistaken": """
        from pathlib import Path
        from geohydra.errors import DataError
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            with Path(config["notes"]).open("a") as stream:
                stream.write("tried\\n")
            raise DataError("images/a.tif", "it has no CRS", "give it one")
    """,
    "flaky": """
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            with Path(config["notes"]).open("a") as stream:
                stream.write("tried\\n")
            if len(Path(config["notes"]).read_text().splitlines()) < 2:
                raise ConnectionResetError("the network was away")
    """,
    "loud": """
        import os, subprocess, sys
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            print("from Python")
            print("from Python, as an error", file=sys.stderr)
            os.write(1, b"from below\\n")
            subprocess.run(["echo", "from a child"], check=True)
            print("threads", os.environ["OMP_NUM_THREADS"], os.environ["GDAL_NUM_THREADS"])
    """,
    "stubborn": """
        import os, signal, subprocess, sys, time
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            '''Does not listen to SIGTERM, and has a child that does not either.'''
            (config,) = config.values()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
            child = subprocess.Popen([sys.executable, "-c", code])
            Path(config["notes"]).write_text(f"{os.getpid()} {child.pid}")
            if config.get("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
    """,
    "scoring": """
        import time
        from pathlib import Path
        VERSION = 1
        def run(config, work):
            # An epoch after the other until somebody opens the gate.
            (config,) = config.values()
            for epoch in range(600):
                work.report.curve({"val/iou": 0.1}, step=epoch)
                if Path(config["gate"]).exists():
                    return
                time.sleep(0.1)
    """,
    "telling": """
        import os
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            for number in range(1000):
                work.progress(number + 1, 1000, f"number {number}")
            for epoch in range(3):
                work.report.curve({"val/iou": epoch / 10}, step=epoch)
            if os.fork() == 0:
                work.say("a child must not be heard")
                os._exit(0)
            os.wait()
            work.say("all told")
    """,
    "filling": """
        VERSION = 1
        def run(config, work):
            (config,) = config.values()
            (work.out / "small.txt").write_text("fits")
            with (work.out / "large.bin").open("wb") as stream:
                for _ in range(64):
                    stream.write(bytes(1 << 20))
    """,
    "number": """
        VERSION = 1
        def run(config, work):
            if config["n"] < 0:
                raise ValueError("a number below zero")
            work.report.metrics({"test/iou": config["n"] / 10})
            (work.out / "n.txt").write_text(str(config["n"]))
    """,
    "squares": """
        import json
        VERSION = 1
        def run(config, work):
            # Squares of all numbers below one; can be done in shards.
            count = int((work.input("number") / "n.txt").read_text())
            found = {number: config["scale"] * number**2 for number in work.share(range(count))}
            (work.out / "squares.json").write_text(json.dumps(found))
        def merge(config, work):
            found = {}
            for folder in work.made():
                found |= json.loads((folder / "squares.json").read_text())
            (work.out / "squares.json").write_text(json.dumps(dict(sorted(found.items(), key=lambda pair: int(pair[0])))))
    """,
    "release": """
        import json
        VERSION = 1
        def run(config, work):
            squares = json.loads((work.input("squares") / "squares.json").read_text())
            (work.out / "sum.txt").write_text(str(sum(squares.values())))
    """,
}

DRIVER = """
import json, os, sys
from pathlib import Path
import psutil
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners.local import LocalRunner
from geohydra.plan import Job, Stage, make_plan

order = json.loads(Path(sys.argv[1]).read_text())
print("script runs", flush=True)
plan = make_plan("driven", [Job("job", order["config"], tuple(Stage(**stage) for stage in order["stages"]))])
with watching(plan) as listener:
    runner = LocalRunner(**order["runner"])
    outcome = runner.run(plan, store=order["store"], hardware=order["hardware"], folder=Path(order["folder"]), listener=listener)
print("children:", len(psutil.Process().children(recursive=True)), flush=True)
raise SystemExit(outcome.exit_code)
"""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the package `plugged`, trusted and importable here and in every child."""
    package = tmp_path / "packages" / "plugged"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for name, text in STEPS.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    for name in [name for name in sys.modules if name.split(".")[0] == "plugged"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(Path(__file__).parents[2])]))
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "plugged")
    return package.parent


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A file that steps write into."""
    return tmp_path / "notes.txt"


def stage(name: str, step: str, *needs: str, role: str = "cpu") -> dict[str, Any]:
    """A stage of the package's step that sees the part of the config with its own name."""
    return {"name": name, "step": f"plugged.{step}", "version": 1, "needs": needs, "uses": (name,), "role": role}


def planned(config: Mapping[str, Any], *stages: Mapping[str, Any]) -> Plan:
    """The plan of one job."""
    return make_plan("planned", [Job("job", config, tuple(Stage(**one) for one in stages))])


Run = Callable[..., Outcome]


@pytest.fixture
def run(steps: Path, tmp_path: Path, watch: Watch) -> Run:
    """Runs a plan in this process."""

    def call(plan: Plan, *, store: str = "", **settings: Any) -> Outcome:
        runner = LocalRunner(**settings)
        return runner.run(plan, store=store or str(tmp_path / "store"), hardware=HARDWARE, folder=tmp_path / "run", listener=watch)

    return call


def numbers(config: Mapping[str, Any], *, shards: int = 1, when: str = "", name: str = "numbers") -> Job:
    """A number, the squares below it, and their sum: a job of three steps, the second in shards, the third perhaps guarded."""
    stages = (
        Stage("number", "plugged.number", 1, (), ("n",), "cpu"),
        Stage("squares", "plugged.squares", 1, ("number",), ("scale",), "cpu", shards=shards),
        Stage("release", "plugged.release", 1, ("number", "squares"), ("deploy.when",) if "deploy" in config else (), "cpu", when=when),
    )
    return Job(name, config, stages)


Kfp = Callable[..., Any]


@pytest.fixture
def run_with_kfp(steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kfp:
    """Executes a compiled file with kfp's own local runner, on this machine's Python instead of in containers."""

    def call(path: Path, **arguments: Any) -> Any:
        from kfp import components, local
        from kfp.local.subprocess_task_handler import SubprocessTaskHandler

        monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", lambda *_: None)
        monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
        return components.load_component_from_file(str(path))(**arguments)

    return call


class Driven:
    """A run in a process of its own, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []
        (folder / "driver.py").write_text(DRIVER)

    def start(self, config: Mapping[str, Any], *stages: Mapping[str, Any], store: str = "", **settings: Any) -> subprocess.Popen[str]:
        order = {
            "config": config,
            "stages": stages,
            "store": store or str(self.folder / "store"),
            "folder": str(self.folder / "run"),
            "hardware": HARDWARE,
            "runner": settings,
        }
        path = self.folder / f"order-{len(self._processes)}.json"
        path.write_text(json.dumps(order))
        command = [sys.executable, str(self.folder / "driver.py"), str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=_hear_signals
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def driven(steps: Path, tmp_path: Path) -> Iterator[Driven]:
    """Starts runs as processes, and leaves none behind."""
    starter = Driven(tmp_path)
    yield starter
    starter.close()


def until(happens: Callable[[], Any], *, seconds: float = 20) -> Any:
    """What it returns once that is true; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happens():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def _hear_signals() -> None:
    """As in a terminal: whoever runs the tests may have told them to ignore some signals (nohup, a job in the background)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All processes below one."""
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def alive(notes: Path) -> list[int]:
    """Which of the processes whose ids stand in a file still run."""
    return [int(word) for word in notes.read_text().split() if _runs(int(word))]


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
