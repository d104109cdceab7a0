"""The wheel: built, installed where the checkout is not, run from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def build(kind: str, source: Path, folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)], cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def contents(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", repository, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel, and for the rest looks at the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    place = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    )
    (Path(place.stdout.strip()) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(python: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([python, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_brings_nothing_but_geohydra(wheel: Path) -> None:
    assert {name.split("/")[0] for name in contents(wheel)} == {"geohydra", "geohydra-0.1.0.dist-info"}


def test_every_config_and_every_task_is_in_the_wheel(wheel: Path, repository: Path) -> None:
    wanted = {
        f"geohydra/{path.relative_to(repository)}" for group in ("conf", "tasks") for path in (repository / group).rglob("*.[yp]*[yl]")
    }

    assert wanted
    assert wanted <= contents(wheel)


def test_a_wheel_from_the_sdist_is_the_same(wheel: Path, repository: Path, tmp_path: Path) -> None:
    archive = build("sdist", repository, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()

    again = build("wheel", source, tmp_path / "again")

    assert contents(again) == contents(wheel)


def test_the_installed_wheel_plans_the_default_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    place = run(installed, tmp_path, "-c", "import geohydra; print(geohydra.__file__)")
    assert str(installed.parents[1]) in place.stdout

    planned = run(installed, tmp_path, "-m", "geohydra", "plan")

    assert planned.returncode == 0, planned.stderr
    assert "train" in planned.stdout


def test_only_geohydra_can_be_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    for name in ("conf", "tasks", "tests"):
        assert run(installed, tmp_path, "-c", f"import {name}").returncode != 0
    assert run(installed, tmp_path, "-c", "import geohydra.tasks.semantic_segmentation").returncode == 0
