"""What the local runner costs beyond the work of the steps: a chain of ten trivial steps, with everything preloaded."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from geohydra.build import build
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners import Runner
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.work import read_manifest

LIMIT = 0.3
STEPS = 10
TRIVIAL = "VERSION = 1\ndef run(config, work):\n    (work.out / 'a.txt').write_text('a')\n"


def main() -> int:
    """Print overhead per step as the median of several runs; 0 when it is within the limit."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--small", action="store_true", help="fewer runs")
    repeats = 3 if options.parse_args().small else 9
    with tempfile.TemporaryDirectory() as folder:
        runner = prepared(Path(folder))
        start = time.perf_counter()
        overhead(runner, Path(folder), 0)
        warming = time.perf_counter() - start
        found = [overhead(runner, Path(folder), number) for number in range(1, repeats + 1)]
    wall, cpu = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"first run, with the imports of the fork server: {warming:.1f} s wall")
    print(f"step overhead: ours {cpu:.3f} s CPU, {wall:.3f} s wall; limit {LIMIT} s wall; ratio {wall / LIMIT:.2f} (target <= 1)")
    return 0 if wall <= LIMIT else 1


def prepared(folder: Path) -> Runner:
    """The shipped runner, and a trusted package with the trivial step."""
    (folder / "trivial_steps").mkdir()
    (folder / "trivial_steps" / "__init__.py").write_text("")
    (folder / "trivial_steps" / "trivial.py").write_text(TRIVIAL)
    sys.path.insert(0, str(folder))
    os.environ["GEOHYDRA_PLUGINS"] = "trivial_steps"
    conf = Path(__file__).parents[1] / "conf" / "runner" / "local.yaml"
    runner: Runner = build(yaml.safe_load(conf.read_text()), where="runner")
    return runner


def chain(number: int) -> Plan:
    """Ten steps, each needing the one before, that no earlier run has made."""
    stages = [Stage(f"s{k}", "trivial_steps.trivial", 1, (f"s{k - 1}",) if k else (), ("number",), "cpu") for k in range(STEPS)]
    return make_plan("overhead", [Job("job", {"number": number}, tuple(stages))])


def overhead(runner: Runner, folder: Path, number: int) -> tuple[float, float]:
    """Seconds per step, wall and CPU, less those that the steps themselves took."""
    plan, run = chain(number), folder / f"run-{number}"
    with (folder / "shown.txt").open("w") as stream, watching(plan, stream=stream) as listener:
        wall, cpu = time.perf_counter(), all_cpu()
        outcome = runner.run(plan, store=str(folder / "store"), hardware={"cpu": {"cpu": 1}}, folder=run, listener=listener)
        wall, cpu = time.perf_counter() - wall, all_cpu() - cpu
    if outcome.exit_code:
        raise SystemExit("a trivial step failed")
    work = sum((read_manifest(step.uri) or {})["seconds"] for step in outcome.steps.values())
    return (wall - work) / STEPS, cpu / STEPS


def all_cpu() -> float:
    """CPU seconds of this process, of the fork server, and of the steps that it has waited for."""
    times = [psutil.Process().cpu_times(), *(child.cpu_times() for child in psutil.Process().children())]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


if __name__ == "__main__":
    raise SystemExit(main())
