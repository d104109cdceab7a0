"""What a source finds is pinned, and a run stands on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from geohydra.cli import main
from geohydra.config.checking import check, locked
from geohydra.config.compose import compose
from geohydra.config.locking import read
from geohydra.errors import ConfigError, DataError
from geohydra.types import LockEntry

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two images, in which the user stands."""
    monkeypatch.chdir(tmp_path)
    for name, left in (("a", 5e5), ("b", 6e5)):
        place = {"crs": "EPSG:32632", "transform": Affine(10, 0, left, 0, -10, 5.5e6)}
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", count=1, width=8, height=8, dtype="uint8", **place) as file:
            file.write(np.full((1, 8, 8), 7, np.uint8))
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command; gives the exit code, what it printed, and what went wrong."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


WORDS = ("source=files", "source.images=*.tif")


def test_a_lock_is_written_the_same_each_time_an_entry_a_line(images: Path, say: Say) -> None:
    code, said, _ = say("lock", *WORDS)
    first = (images / "geohydra.lock").read_bytes()
    say("lock", *WORDS)

    assert (code, said.startswith("geohydra.lock: 2 files, ")) == (0, True)
    assert (images / "geohydra.lock").read_bytes() == first
    assert [line.strip()[:8] for line in first.decode().splitlines()[4:6]] == ['{"uri": ', '{"uri": ']


def test_check_tells_how_the_world_has_moved_on(images: Path, say: Say) -> None:
    say("lock", *WORDS, "-f", "my.lock")
    assert say("lock", "--check", "-f", "my.lock")[:2] == (0, "my.lock: the world is as it was: 2 files\n")
    (images / "b.tif").unlink()
    (images / "a.tif").write_bytes((images / "a.tif").read_bytes() + b"more")
    (images / "c.tif").write_bytes(b"new")

    code, said, _ = say("lock", "--check", "-f", "my.lock")

    assert code == 3
    assert said.splitlines()[0] == "my.lock: the world has moved on: 1 added, 1 removed, 1 changed; `geohydra lock` pins it anew"
    assert said.splitlines()[1] == f"  added    {images}/c.tif"


def test_a_run_stands_on_its_lock_and_lists_nothing(images: Path, say: Say) -> None:
    say("lock", *WORDS)
    before = [entry.as_dict() for entry in read("geohydra.lock").entries]
    (images / "c.tif").write_bytes(b"new")
    (images / "b.tif").unlink()

    job = compose([*WORDS, "lock=geohydra.lock"])

    assert not check(job.config)
    assert locked([job])[0].config["lock"] == before


def test_a_lock_of_another_source_is_refused_with_what_differs(images: Path, say: Say) -> None:
    say("lock", *WORDS)

    with pytest.raises(ConfigError, match=r"lock: geohydra\.lock was made with another source\.images; make it again"):
        locked([compose([WORDS[0], "source.images=a.tif", "lock=geohydra.lock"])])


@pytest.mark.parametrize("content", [None, "", "[]", '{"geohydra_lock": 99}'])
def test_what_is_no_lock_is_refused(images: Path, content: str | None) -> None:
    if content is not None:
        (images / "x.lock").write_text(content)

    with pytest.raises(DataError, match=r"x\.lock: .*; make it"):
        locked([compose([*WORDS, "lock=x.lock"])])


def test_entries_tell_only_what_is_known() -> None:
    """Fingerprints of plans from before items were known stay as they are."""
    assert LockEntry("a.tif", 3).as_dict() == {"uri": "a.tif", "size": 3, "role": "image"}
    entry = LockEntry("a.tif", time="2024-06-01T00:00:00Z", item={"id": "a"})
    assert LockEntry(**json.loads(json.dumps(entry.as_dict()))) == entry


def test_check_looks_at_locked_files_and_draws_them(images: Path, say: Say) -> None:
    say("lock", *WORDS)
    (images / "c.tif").write_bytes(b"new")

    code, said, wrong = say("check", *WORDS, "lock=geohydra.lock", "--picture", "map.png")

    assert (code, wrong) == (0, "")
    assert "picture: map.png" in said
    assert (images / "map.png").read_bytes().startswith(b"\x89PNG")


def test_a_scene_that_is_there_twice_is_told(images: Path, say: Say) -> None:
    (images / "c.tif").write_bytes((images / "a.tif").read_bytes())

    _, said, _ = say("check", *WORDS)

    assert "the same as a" in said
    assert "warning: c and a are the same image twice" in said


def test_check_refuses_a_file_that_is_another_than_its_lock_says(images: Path, say: Say) -> None:
    say("lock", *WORDS, "-f", "my.lock")
    (images / "a.tif").write_bytes((images / "a.tif").read_bytes() + b"more")

    code, said, wrong = say("check", *WORDS, "lock=my.lock")

    assert (code, said.splitlines()[-1]) == (3, "data: 1 mistake, 2 scenes, 2 files")
    assert "a.tif: has changed since it was listed; start again" in wrong


def test_check_takes_the_lock_that_a_run_would_stand_on(images: Path, say: Say) -> None:
    say("lock", *WORDS, "-f", "my.lock")

    assert say("lock", "--check", *WORDS, "lock=my.lock")[:2] == (0, "my.lock: the world is as it was: 2 files\n")


def test_images_without_a_place_have_no_map(images: Path, say: Say) -> None:
    with rasterio.open(images / "c.png", "w", driver="PNG", count=1, width=8, height=8, dtype="uint8") as file:
        file.write(np.ones((1, 8, 8), np.uint8))

    code, said, _ = say("check", "source=files", "source.images=c.png", "source.allow_no_crs=true", "--picture", "map.png")

    assert (code, "no picture: the scenes have no place on the ground" in said) == (0, True)
