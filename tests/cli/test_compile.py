"""`geohydra compile` as a user calls it: what it prints, what it warns of, and how large files become."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Compile = Callable[..., subprocess.CompletedProcess[str]]

THERE = ("store=s3://bucket/geohydra", "tracking=none")


@pytest.fixture
def compile_(tmp_path: Path) -> Compile:
    """Compiles in an empty folder."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "geohydra", "compile", "-o", "p.yaml", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return call


def used(text: str) -> list[int]:
    """Percent of each of a cluster's limits."""
    return [int(found) for found in re.findall(r"(\d+)%$", text, re.MULTILINE)]


def test_a_store_on_this_machine_is_pointed_out(compile_: Compile) -> None:
    done = compile_("store=outputs/store")

    assert done.returncode == 0
    assert "the store outputs/store is a folder of this machine" in done.stderr


def test_a_bound_that_nobody_keeps_is_pointed_out(compile_: Compile) -> None:
    done = compile_("-m", "train.lr=1e-2,1e-3", "sweep.parallel=1", *THERE)

    assert "this file starts all jobs at once" in done.stderr


def test_settings_of_a_team_stand_in_a_file(compile_: Compile, tmp_path: Path) -> None:
    (tmp_path / "conf" / "cluster").mkdir(parents=True)
    text = "defaults: [default, _self_]\nimage: registry.example.org/geohydra:9\nsecret_env: {AWS_ACCESS_KEY_ID: store-keys/id}\n"
    (tmp_path / "conf" / "cluster" / "team.yaml").write_text(text)

    done = compile_("cluster=team", *THERE)

    assert done.stdout.startswith("p.yaml: 7 steps, image registry.example.org/geohydra:9, store s3://bucket/geohydra")
    assert done.stderr == ""
    assert "store-keys" in (tmp_path / "p.kubernetes.yaml").read_text()


def test_the_portable_file_is_one_document_without_what_only_kubernetes_knows(compile_: Compile, tmp_path: Path) -> None:
    compile_("hardware=spot", *THERE)

    (portable,) = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    assert portable["schemaVersion"].startswith("2.1")
    assert "platforms" not in portable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("pipeline.shards.predict=64", "source.scenes=512", "deploy.when='test/iou >= 0.7'"), 72),
        (("-m", "train.lr=range(0.001,0.017,0.001)", "train.batch_size=4,8,16,32"), 275),
    ],
)
def test_what_is_asked_of_a_cluster_at_most_fits_into_it(compile_: Compile, words: tuple[str, ...], steps: int) -> None:
    done = compile_(*words, *THERE, "hardware=gpu", "+cluster.secret_env.AWS_SECRET_ACCESS_KEY=store-keys/secret")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"p.yaml: {steps} steps")
    assert max(used(done.stdout)) <= 90


@pytest.mark.slow
def test_a_sweep_that_is_too_large_is_refused_with_the_remedy(compile_: Compile, tmp_path: Path) -> None:
    done = compile_("-m", "train.lr=range(0.0001,0.0301,0.0001)", *THERE)

    assert done.returncode == 2
    assert "split the sweep" in done.stderr or "sweep fewer jobs" in done.stderr
    assert not (tmp_path / "p.yaml").exists()
