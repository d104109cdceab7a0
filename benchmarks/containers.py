"""What a container costs beyond the work of its step: a chain of trivial steps, in containers against worker processes.

Needs an engine that has the image; `scripts/engine start FOLDER` makes one: DOCKER_HOST=unix://FOLDER/docker.sock.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _measure import Measured, report, small
from step_overhead import TRIVIAL

from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners import Runner
from geohydra.pipeline.runners.docker import DockerRunner
from geohydra.pipeline.runners.local import LocalRunner
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.work import read_manifest

LIMIT = 2.0
STEPS = 7  # as many as the default plan has
HARDWARE = {"cpu": {"cpu": 1, "memory": 1}}


def main() -> int:
    """Print the seconds that a container adds to a step; 0 when they are within the limit."""
    repeats = 1 if small(str(__doc__)) else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runners = [local(folder), docker(folder)]
        for runner in runners:
            overhead(runner, folder, 0)
        rounds = [[overhead(runner, folder, number) for runner in runners] for number in range(1, repeats + 1)]
    here, there = (statistics.median(one[place] for one in rounds) for place in range(2))
    print(f"each of {STEPS} steps in a chain: {there:.3f} s in a container, {here:.3f} s in a worker process, beyond its work")
    added = Measured(cpu=0.0, wall=there - here)
    return 0 if report("docker runner, overhead per step", added, Measured(0.0, LIMIT), 1.0, by="wall") <= 1.0 else 1


def local(folder: Path) -> Runner:
    """The runner in worker processes, and a trusted package with the trivial step."""
    (folder / "trivial_steps").mkdir()
    (folder / "trivial_steps" / "__init__.py").write_text("")
    (folder / "trivial_steps" / "trivial.py").write_text(TRIVIAL)
    sys.path.insert(0, str(folder))
    os.environ["GEOHYDRA_PLUGINS"] = "trivial_steps"
    return LocalRunner()


def docker(folder: Path) -> Runner:
    """The runner in containers, which see that package."""
    env = {"PYTHONPATH": str(folder), "GEOHYDRA_PLUGINS": "trivial_steps"}
    return DockerRunner(network="none", folders=[str(folder / "trivial_steps")], env=env)


def chain(number: int) -> Plan:
    """Steps of which each needs the one before, and that no earlier run has made."""
    stages = [Stage(f"s{k}", "trivial_steps.trivial", 1, (f"s{k - 1}",) if k else (), ("number",), "cpu") for k in range(STEPS)]
    return make_plan("overhead", [Job("job", {"number": number}, tuple(stages))])


def overhead(runner: Runner, folder: Path, number: int) -> float:
    """Seconds per step, less those that the steps themselves took."""
    plan, name = chain(number), type(runner).__name__
    with (folder / "shown.txt").open("w") as stream, watching(plan, stream=stream) as listener:
        started = time.perf_counter()
        outcome = runner.run(plan, store=str(folder / name), hardware=HARDWARE, folder=folder / f"{name}-{number}", listener=listener)
        took = time.perf_counter() - started
    if outcome.exit_code:
        raise SystemExit(f"a trivial step failed: {outcome.failures}")
    return (took - sum((read_manifest(step.uri) or {})["seconds"] for step in outcome.steps.values())) / STEPS


if __name__ == "__main__":
    raise SystemExit(main())
