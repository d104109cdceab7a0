"""What the runner for containers decides without any engine: mounts, limits, lines of logs, and what it says when none is there."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker.errors import APIError

from geohydra.build import build
from geohydra.errors import ConfigError, EngineError
from geohydra.pipeline.hardware import Role
from geohydra.pipeline.runners import Runner
from geohydra.pipeline.runners.docker import DockerRunner
from geohydra.pipeline.runners.docker_engine import connected, limits_of, refusal
from geohydra.pipeline.runners.docker_mounts import MOST, needed_folders, volumes_of
from geohydra.pipeline.runners.docker_tasks import Lines
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.plan import Plan, make_plan

from ...conftest import Watch
from ..conftest import HARDWARE, numbers


@pytest.fixture
def plan(steps: Path) -> Plan:
    """A number, and the squares below it."""
    return make_plan("numbers", [numbers({"n": 4, "scale": 2})])


def test_the_shipped_runner_is_one(repository: Path) -> None:
    node = yaml.safe_load((repository / "conf" / "runner" / "docker.yaml").read_text())

    assert isinstance(build(node, where="runner"), Runner)


def test_no_engine_is_a_sentence_with_the_remedy(plan: Plan, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")

    with pytest.raises(EngineError, match=r"none answers at unix:///.*/nothing.sock; start it .* or choose runner=local"):
        DockerRunner().run(plan, store=str(tmp_path / "store"), hardware=HARDWARE, folder=tmp_path / "run", listener=watch)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The socket of an engine that only root may use, asked by somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    place = Path("/tmp") / f"geohydra-{os.getpid()}.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        place.chmod(0o600)
        listening.listen()
        docker.DockerClient(base_url=f"unix://{place}", version="1.41").close()  # what it imports first may be root's too
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
            place.unlink()


def test_a_socket_that_may_not_be_used_says_which_group_to_join(forbidden: None) -> None:
    with pytest.raises(EngineError, match=r"this user may not use .*join its group"), connected():
        raise AssertionError("the engine was reached")


def test_folders_of_named_files_are_needed_and_no_others(tmp_path: Path) -> None:
    for name in ("images/a.tif", "images/b.tif", "labels/roads.geojson", "other/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    config = {"source": {"images": f"{tmp_path}/images/*.tif", "labels": [f"{tmp_path}/labels/roads.geojson"]}, "n": 3, "name": "a/b"}

    assert needed_folders([config]) == [tmp_path / "images", tmp_path / "labels"]


def test_places_elsewhere_and_long_texts_need_no_folder(tmp_path: Path) -> None:
    assert needed_folders([{"a": "s3://bucket/*.tif", "b": "https://example.org/a.tif", "c": "x" * 9999, "d": "y" * 300, "e": "\0"}]) == []


def test_texts_that_only_look_like_places_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.txt").write_text("")
    monkeypatch.chdir(tmp_path)

    assert needed_folders([{"scene": r"(?P<scene>[^/]+)_\d{8}", "pattern": "*.tif", "class": "~water", "folder": "[a-c]"}]) == []


def test_relative_places_and_alternatives_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.tif").write_text("")
    monkeypatch.chdir(tmp_path)

    assert needed_folders([{"images": "{a,b}/*.tif"}]) == [tmp_path / "a", tmp_path / "b"]


def test_a_link_needs_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    for name in ("real", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "a.tif").write_text("")
    (tmp_path / "linked" / "a.tif").symlink_to(tmp_path / "real" / "a.tif")

    assert needed_folders([{"images": str(tmp_path / "linked" / "a.tif")}]) == [tmp_path / "linked", tmp_path / "real"]


def test_a_folder_inside_another_needs_no_mount_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.tif").write_text("")

    assert needed_folders([{"a": str(tmp_path / "inner" / "a.tif")}], [str(tmp_path)]) == [tmp_path]


def test_many_folders_become_the_one_above_them(tmp_path: Path) -> None:
    names = [f"{tmp_path}/scene-{number}/a.tif" for number in range(MOST + 1)]
    for name in names:
        Path(name).parent.mkdir()
        Path(name).write_text("")

    assert needed_folders([{"lock": names}]) == [tmp_path]


def test_files_that_only_a_stored_step_names_are_there_for_the_steps_behind_it(steps: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    plan = make_plan("numbers", [numbers({"n": f"{tmp_path}/images", "scale": 2})])
    store = tmp_path / "store"
    first = Path(locate(plan, str(store))[plan.steps[0].id])
    first.mkdir(parents=True)
    (first / "manifest.json").write_text("{}")

    assert list(stored_steps(plan, str(store))) == [plan.steps[0].id]
    assert volumes_of(plan, str(store), tmp_path / "cache") == {
        str(tmp_path / "images"): {"bind": str(tmp_path / "images"), "mode": "ro"},
        str(tmp_path / "cache"): {"bind": str(tmp_path / "cache"), "mode": "rw"},
        str(store): {"bind": str(store), "mode": "rw"},
    }


def test_a_folder_with_a_colon_is_refused(plan: Plan, tmp_path: Path) -> None:
    odd = tmp_path / "2024-01-01T10:00"
    odd.mkdir()

    with pytest.raises(ConfigError, match="whose name has a colon"):
        volumes_of(plan, str(tmp_path / "store"), tmp_path / "cache", [str(odd)])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runner.folders: .*/nothing does not exist"):
        needed_folders([], [str(tmp_path / "nothing")])


def test_a_role_becomes_limits() -> None:
    limits = limits_of(Role(cpu=8, memory=2.5, gpu=2, shm="1Gi"), cpus=4)

    assert limits["mem_limit"] == limits["memswap_limit"] == 2_500_000_000
    assert limits["nano_cpus"] == 4_000_000_000
    assert limits["shm_size"] == 2**30
    assert limits["device_requests"] == [{"count": 2, "capabilities": [["gpu"]]}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "cannot give GPUs to containers"),
        ("network nowhere not found", "the engine has no such network"),
        ('exec: "python": executable file not found in $PATH: unknown', "the image geohydra:1 has no `python`"),
        ("no space left on device", "could not be started (no space left on device)"),
    ],
)
def test_what_the_engine_refuses_is_a_sentence(words: str, told: str) -> None:
    problem, hint = refusal(APIError("refused", explanation=words), "geohydra:1")

    assert told in problem
    assert hint


def test_lines_of_a_log_are_told_whole_however_they_come() -> None:
    log, events = io.StringIO(), list[Any]()
    lines = Lines(log, events.append)
    for piece in ("    ", "Found\n", "    ", "1/4 chi", "    ", 'ps\n{"step": 0, "metrics": {"val/iou": 0.5}}\n', "    ", "    indented\n"):
        lines.write(piece)

    assert log.getvalue() == 'Found\n1/4 chips\n{"step": 0, "metrics": {"val/iou": 0.5}}\n    indented\n'
    assert events == [{"progress": 1, "total": 4, "text": "chips"}, {"step": 0, "metrics": {"val/iou": 0.5}}]
