"""Sweeps on Kubeflow as a user starts them, against a server that executes what it gets: grids are one graph, searches one a batch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..pipeline.runners.conftest import Kubeflow
from .test_search import LEARN, chosen, noted, trials

pytestmark = pytest.mark.slow

Call = Callable[..., subprocess.CompletedProcess[str]]

SEARCH = ("-m", "sweep=optuna", "sweep.goal=val/score:max", "sweep.parallel=2", "sweep.startup=4", "sweep.prune=false")
VARIED = ("train.lr=interval(1e-4,1e-1)", "model=power,cube")


@pytest.fixture
def learning(project: Path) -> Path:
    """The small project with a step that learns in epochs, in the folder where the server's pods stand too."""
    place = (project / "notes.txt").as_posix()
    (project / "library" / "toysteps" / "learn.py").write_text(LEARN.replace('Path("notes.txt")', f'Path("{place}")'))
    pipeline = "steps:\n  ingest: {step: toysteps.ingest, uses: [source, lock, seed], role: io}\n"
    pipeline += "  train: {step: toysteps.learn, needs: [ingest], uses: [model, chip, train, seed], role: cpu}\nparameters: []\n"
    (project / "conf" / "pipeline" / "learning.yaml").write_text(pipeline)
    return project


@pytest.fixture
def geohydra(learning: Path) -> Call:
    """The command line in a process of its own; pods of a cluster take longer than those of one machine."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "geohydra", *words], cwd=learning, capture_output=True, text=True, timeout=600)

    return call


@pytest.fixture
def kubeflow(learning: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubeflow]:
    """A running server that knows the small project."""
    monkeypatch.delenv("KF_PIPELINES_UI_ENDPOINT", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Kubeflow(learning / "kubeflow")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.host)
    yield server
    server.stop()


def there(project: Path, *words: str) -> tuple[str, ...]:
    """A command for the cluster, whose pods reach the store by a volume."""
    reach = ("+cluster=default", f"+cluster.volumes={{{project}: claim}}", f"store={project}/store")
    return (*words, "pipeline=learning", "runner=kfp", "runner.poll=0.3", *reach)


def submitted(kubeflow: Kubeflow) -> int:
    return sum(line.startswith("POST /apis/v2beta1/runs") and ":" not in line.rpartition("/")[2] for line in kubeflow.requests())


def test_each_batch_of_a_search_is_one_graph_that_shares_what_it_can(learning: Path, geohydra: Call, kubeflow: Kubeflow) -> None:
    done = geohydra(*there(learning, *SEARCH, *VARIED, "sweep.trials=4"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "trials    4 done" in done.stdout
    assert submitted(kubeflow) == 2
    assert len(re.findall(r"^ingest +done", done.stdout, re.MULTILINE)) == 1
    assert len(noted(learning, "end")) == 4
    scores = [float(row["val/score"]) for row in trials(learning).values()]
    assert scores == sorted(scores, reverse=True)
    assert (learning / "outputs" / "runs" / "latest" / "conf" / "experiment" / "best.yaml").exists()


@pytest.mark.parametrize("goal", ["val/score:max", "[val/score:max,val/cost:min]"])
def test_a_search_on_the_cluster_tries_what_one_here_would(learning: Path, geohydra: Call, kubeflow: Kubeflow, goal: str) -> None:
    words = (*SEARCH, *VARIED, "sweep.trials=3", "sweep.startup=1", f"sweep.goal={goal}")

    done = geohydra(*there(learning, *words))
    geohydra(*words, "pipeline=learning", "outputs=here")

    assert done.returncode == 0, done.stdout + done.stderr
    assert chosen(learning) == chosen(learning, "here")
    assert len({row["val/cost"] for row in trials(learning).values()}) > 1


def test_failed_trials_are_told_and_stop_no_others(learning: Path, geohydra: Call, kubeflow: Kubeflow) -> None:
    words = ("train.lr=interval(1e-3,1e-1)", "model.exponent=7,3", "sweep.trials=6", "sweep.sampler=random", "sweep.parallel=3")

    done = geohydra(*there(learning, *SEARCH, *words))

    assert done.returncode == 0, done.stdout + done.stderr
    found = trials(learning)
    assert {(row["status"], row["model.exponent"]) for row in found.values()} == {("done", "3"), ("failed", "7")}, done.stdout
    assert len(found) == 6
    assert "seven does not train" in done.stdout


def test_a_search_whose_terminal_was_killed_goes_on_with_the_run_that_it_left(learning: Path, geohydra: Call, kubeflow: Kubeflow) -> None:
    words = there(learning, *SEARCH, *VARIED, "sweep.trials=4", "train.batch_size=1000", "train.epochs=12")
    first = subprocess.Popen([sys.executable, "-m", "geohydra", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not noted(learning, "start") and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    done = geohydra(*words)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "is under way already" in done.stdout
    assert {row["status"] for row in trials(learning).values()} <= {"done", "stored"}, done.stdout
    assert len(trials(learning)) == 4
    assert submitted(kubeflow) == 2
    assert len(noted(learning, "start")) == 4


def test_a_trial_without_hope_is_given_up_on_the_cluster_too(learning: Path, geohydra: Call, kubeflow: Kubeflow) -> None:
    words = ("sweep.trials=6", "sweep.startup=2", "sweep.warmup=1", "sweep.sampler=random", "train.epochs=10", "train.batch_size=1000")
    search = [word for word in SEARCH if "prune" not in word and "startup" not in word]

    done = geohydra(*there(learning, *search, *VARIED, *words, "sweep.prune=true"))

    assert done.returncode == 0, done.stdout + done.stderr
    pruned = [name for name, row in trials(learning).items() if row["status"] == "pruned"]
    assert pruned
    assert "half of the earlier trials were better by then" in done.stdout
    assert len(noted(learning, "end")) == 6 - len(pruned)


def test_a_grid_is_one_graph_and_leaves_the_best_config(learning: Path, geohydra: Call, kubeflow: Kubeflow) -> None:
    done = geohydra(*there(learning, "-m", "train.lr=1e-1,1e-2,1e-3", "sweep.goal=val/score:max"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert submitted(kubeflow) == 1
    assert len(re.findall(r"^ingest +done", done.stdout, re.MULTILINE)) == 1
    assert next(iter(trials(learning))) == "toy-1"
    best = (learning / "outputs" / "runs" / "latest" / "conf" / "experiment" / "best.yaml").read_text()
    assert "lr: 0.01" in best
    (kept,) = (learning / "store" / "runs").glob("*/comparison/comparison.csv")
    assert (kept.parents[1] / "conf" / "experiment" / "best.yaml").read_text() == best
