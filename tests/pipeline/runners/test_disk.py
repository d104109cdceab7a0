"""A store that is full or may not be written to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geohydra.work import read_manifest

from ..conftest import Run, planned, stage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_in_a_sentence_and_nothing_half_written_looks_whole(run: Run, small_disk: Path) -> None:
    store = small_disk / "store"

    outcome = run(planned({"fill": {}}, stage("fill", "filling")), store=str(store), retries=2)

    step = outcome.steps["fill"]
    assert step.error is not None
    assert step.error.problem == "the disk is full"
    assert step.error.where == str(store)
    assert (step.attempts, outcome.exit_code) == (1, 4)
    assert read_manifest(step.uri) is None
    assert not Path(step.uri).exists()


def test_after_a_full_disk_there_is_room_again(run: Run, small_disk: Path, notes: Path) -> None:
    run(planned({"fill": {}}, stage("fill", "filling")), store=str(small_disk / "store"))

    outcome = run(planned({"a": {"name": "a", "notes": str(notes)}}, stage("a", "note")), store=str(small_disk / "store"))

    assert outcome.jobs == {"job": "done"}


def test_a_full_disk_that_a_library_tells_in_its_own_way_is_told_as_one(run: Run, small_disk: Path, steps: Path) -> None:
    (steps / "plugged" / "raster.py").write_text(
        "VERSION = 1\n"
        "def run(config, work):\n"
        "    import numpy as np, rasterio\n"
        "    pixels = np.random.default_rng(0).integers(0, 255, (1, 5000, 5000), dtype='uint8')\n"
        "    with rasterio.open(work.out / 'a.tif', 'w', driver='GTiff', width=5000, height=5000, count=1, dtype='uint8') as file:\n"
        "        file.write(pixels)\n"
        "    raise RuntimeError('a library that did not notice: ' + str((work.out / 'a.tif').stat().st_size))\n"
    )

    outcome = run(planned({"write": {}}, stage("write", "raster")), store=str(small_disk / "store"), retries=0)

    error = outcome.steps["write"].error
    assert error is not None
    assert error.problem == "the disk is full"


def test_a_read_only_store_is_told_in_a_sentence(run: Run, small_disk: Path, notes: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    outcome = run(planned({"a": {"name": "a", "notes": str(notes)}}, stage("a", "note")), store=str(small_disk / "store"))

    error = outcome.steps["a"].error
    assert error is not None
    assert error.problem == "the file system is read-only"
    assert outcome.exit_code == 4
    assert not notes.exists()


def test_a_file_where_the_store_should_be_is_told_in_a_sentence(run: Run, tmp_path: Path, notes: Path) -> None:
    (tmp_path / "taken").write_text("")

    outcome = run(planned({"a": {"name": "a", "notes": str(notes)}}, stage("a", "note")), store=str(tmp_path / "taken"))

    error = outcome.steps["a"].error
    assert error is not None
    assert error.problem == "a file stands where a folder is needed"


def test_an_input_that_may_not_be_read_is_not_blamed_on_the_store(run: Run, steps: Path, tmp_path: Path) -> None:
    (steps / "plugged" / "reading.py").write_text(
        "VERSION = 1\ndef run(config, work):\n    raise PermissionError(13, 'Permission denied', '/data/secret.tif')\n"
    )

    outcome = run(planned({"read": {}}, stage("read", "reading")))

    error = outcome.steps["read"].error
    assert error is not None
    assert error.problem == "PermissionError: [Errno 13] Permission denied: '/data/secret.tif'"
    assert outcome.steps["read"].attempts == 1
