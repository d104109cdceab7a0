"""Bytes by URI, on this machine and on a real S3 server."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from geohydra import storage
from geohydra.errors import DataError, StoreError
from geohydra.types import LockEntry


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a few files."""
    for name in ("a.tif", "b.tif", "c.TIF", "deep/er/d.tif", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(entries: list[LockEntry], folder: Path) -> list[str]:
    return [str(Path(entry.uri).relative_to(folder)) for entry in entries]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tif", ["a.tif", "b.tif"]),
        ("**/*.tif", ["a.tif", "b.tif", "deep/er/d.tif"]),
        ("[bc].*", ["b.tif", "c.TIF"]),
        ("?.tif", ["a.tif", "b.tif"]),
        ("{a*,e.txt}", ["a.tif", "e.txt"]),
        ("{a.tif,deep/*/d.tif}", ["a.tif", "deep/er/d.tif"]),
        ("a.tif", ["a.tif"]),
        ("{*.tif,a.*}", ["a.tif", "b.tif"]),
    ],
)
def test_patterns_find_files_in_order_each_once(files: Path, pattern: str, found: list[str]) -> None:
    assert names(storage.list_files(f"{files}/{pattern}"), files) == found


def test_relative_patterns_give_absolute_places(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)

    assert storage.list_files("deep/*/*.tif")[0].uri == str(files / "deep" / "er" / "d.tif")


def test_nothing_found_is_an_error_with_the_pattern(files: Path) -> None:
    with pytest.raises(DataError, match=r"\*\.png: no file matches"):
        storage.list_files(f"{files}/*.png")


def test_a_missing_one_of_several_named_files_is_not_passed_over(files: Path) -> None:
    with pytest.raises(DataError, match=r"zz\.tif: there is no such file"):
        storage.list_files(f"{files}/{{a,zz}}.tif")


def test_an_unknown_scheme_is_told_in_a_sentence() -> None:
    with pytest.raises(StoreError, match="no way to read this address"):
        storage.list_files("nonsense://bucket/*.tif")


def test_an_unchanged_listing_is_accepted(files: Path) -> None:
    storage.refuse_changed(storage.list_files(f"{files}/*.tif"))


def test_a_file_that_changed_since_it_was_listed_is_refused(files: Path) -> None:
    lock = storage.list_files(f"{files}/*.tif")
    (files / "b.tif").write_text("something else")

    with pytest.raises(DataError, match=r"b\.tif: has changed since it was listed; start again"):
        storage.refuse_changed(lock)


def test_a_file_of_the_same_size_but_a_new_time_is_refused(files: Path) -> None:
    lock = storage.list_files(f"{files}/*.tif")
    os.utime(files / "a.tif", (1, 1))

    with pytest.raises(DataError, match="has changed"):
        storage.refuse_changed(lock)


def test_files_that_are_gone_are_counted(files: Path) -> None:
    lock = storage.list_files(f"{files}/*.tif")
    for name in ("a.tif", "b.tif"):
        (files / name).unlink()

    with pytest.raises(DataError, match=r"a\.tif: is gone since it was listed \(and 1 more file\)"):
        storage.refuse_changed(lock)


def test_small_files_are_written_whole_with_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.json"

    storage.write_bytes(str(target), b"1")
    storage.write_bytes(str(target), b"2")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")

    assert target.read_bytes() == b"2"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert [path.name for path in target.parent.iterdir()] == ["x.json"]


def test_a_place_below_a_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        storage.write_bytes(str(tmp_path / "file" / "below" / "x"), b"1")


def test_a_full_disk_is_told_in_a_sentence() -> None:
    with pytest.raises(StoreError, match="the disk is full; free some space"), storage.writing("here"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("uri", "parts", "joined"),
    [
        ("/a/", ("b", "c.tif"), "/a/b/c.tif"),
        ("s3://b/p", ("./x",), "s3://b/p/x"),
        ("/a", ("/b",), "/b"),
        ("/a", ("s3://b/c",), "s3://b/c"),
    ],
)
def test_places_are_joined(uri: str, parts: tuple[str, ...], joined: str) -> None:
    assert storage.join(uri, *parts) == joined


class TestOnS3:
    """Against a real S3 protocol server on loopback."""

    @pytest.fixture
    def bucket(self, s3: str) -> str:
        storage.write_bytes(f"{s3}/in/a.tif", b"first")
        storage.write_bytes(f"{s3}/in/b.tif", b"second")
        return s3

    def test_patterns_are_listed_with_size_and_etag(self, bucket: str) -> None:
        found = storage.list_files(f"{bucket}/in/*.tif")

        assert [(entry.uri, entry.size) for entry in found] == [(f"{bucket}/in/a.tif", 5), (f"{bucket}/in/b.tif", 6)]
        assert all(entry.etag and entry.modified for entry in found)
        storage.refuse_changed(found)

    def test_a_changed_object_is_refused(self, bucket: str) -> None:
        found = storage.list_files(f"{bucket}/in/*.tif")
        storage.write_bytes(f"{bucket}/in/b.tif", b"another")

        with pytest.raises(DataError, match=r"in/b\.tif: has changed"):
            storage.refuse_changed(found)

    def test_an_object_that_is_gone_is_refused(self, bucket: str) -> None:
        found = storage.list_files(f"{bucket}/in/*.tif")
        system, path = storage.filesystem(f"{bucket}/in/a.tif")
        system.rm(path)

        with pytest.raises(DataError, match="is gone"):
            storage.refuse_changed(found)

    def test_a_folder_goes_up_and_comes_back(self, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GEOHYDRA_CACHE", str(tmp_path / "cache"))
        (tmp_path / "out" / "deep").mkdir(parents=True)
        (tmp_path / "out" / "deep" / "x.txt").write_text("x")
        (tmp_path / "out" / "manifest.json").write_text("{}")

        storage.upload(tmp_path / "out", f"{bucket}/store/one")
        back = storage.fetch(f"{bucket}/store/one")

        assert sorted(path.relative_to(back).as_posix() for path in back.rglob("*") if path.is_file()) == ["deep/x.txt", "manifest.json"]
        assert storage.exists(f"{bucket}/store/one/manifest.json")

    def test_a_missing_bucket_is_told(self, bucket: str) -> None:
        with pytest.raises(DataError, match="no file matches"):
            storage.list_files("s3://geohydra-no-such-bucket/*.tif")
