"""One step: found or made, whole or not at all."""

from __future__ import annotations

import json
import os
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.errors import ConfigError, StoreError
from geohydra.plan import Job, Stage, make_plan
from geohydra.storage import file_digest
from geohydra.work import Request, Resources, Work, output_uri, perform, read_manifest, scratch_root, step_module, step_version

Bring = Callable[[str], str]


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Lays down a trusted step module and returns its name."""
    package = f"brought_{abs(hash(str(tmp_path)))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GEOHYDRA_PLUGINS", package)

    def call(body: str) -> str:
        name = f"step{len(list((tmp_path / package).iterdir()))}"
        text = f"import os\nfrom pathlib import Path\nVERSION = 3\ndef run(config, work):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
        (tmp_path / package / f"{name}.py").write_text(text)
        return f"{package}.{name}"

    return call


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def request_for(step: str, store: str, *, needs: Mapping[str, str] | None = None, **config: Any) -> Request:
    return Request(step, config, needs or {}, store)


COUNTED = """
with Path(config["seen"]).open("a") as stream:
    stream.write("x")
(work.out / "deep").mkdir()
(work.out / "deep" / "a.txt").write_text("hello")
work.report.metrics({"n": 1})
"""


def test_an_output_is_made_once(bring: Bring, store: str, tmp_path: Path) -> None:
    request = request_for(bring(COUNTED), store, seen=str(tmp_path / "seen"))

    first, second = perform(request), perform(request)

    assert first == second == request.uri
    assert (tmp_path / "seen").read_text() == "x"
    assert (Path(first) / "deep" / "a.txt").read_text() == "hello"


def test_the_manifest_names_every_file_with_size_and_digest(bring: Bring, store: str, tmp_path: Path) -> None:
    request = request_for(bring(COUNTED), store, needs={"ingest": "/elsewhere/ingest/0123456789abcdef"}, seen=str(tmp_path / "seen"))

    folder = Path(perform(request))

    manifest = json.loads((folder / "manifest.json").read_text())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert {entry["path"]: (entry["size"], entry["sha256"]) for entry in manifest["files"]} == {
        path.relative_to(folder).as_posix(): (path.stat().st_size, file_digest(path)) for path in files
    }
    assert {"deep/a.txt", "report/metrics.json", "report/report.html"} <= {entry["path"] for entry in manifest["files"]}
    assert manifest["config"] == request.config
    assert manifest["version"] == 3
    assert manifest["needs"] == {"ingest": "/elsewhere/ingest/0123456789abcdef"}
    assert manifest["fingerprint"] == request.fingerprint == folder.name


def test_nothing_but_the_output_is_left(bring: Bring, store: str, tmp_path: Path) -> None:
    perform(request_for(bring(COUNTED), store, seen=str(tmp_path / "seen")))

    assert not [path for path in scratch_root(store).iterdir() if path.is_dir()]


def test_a_failed_step_leaves_no_output_but_its_state(bring: Bring, store: str) -> None:
    step = bring("""
        place = work.state / "place"
        if not place.exists():
            place.write_text("half way")
            (work.out / "half.txt").write_text("half")
            raise ValueError("too early")
        (work.out / "found.txt").write_text(place.read_text() + str(sorted(os.listdir(work.out))))
    """)
    request = request_for(step, store)

    with pytest.raises(ValueError, match="too early"):
        perform(request)

    assert read_manifest(request.uri) is None
    assert not Path(request.uri).exists()
    assert (Path(perform(request)) / "found.txt").read_text() == "half way['report']"


def test_an_output_without_a_manifest_does_not_exist(bring: Bring, store: str, tmp_path: Path) -> None:
    request = request_for(bring(COUNTED), store, seen=str(tmp_path / "seen"))
    Path(request.uri).mkdir(parents=True)
    (Path(request.uri) / "left_over.txt").write_text("from a copy that broke off")

    perform(request)

    assert read_manifest(request.uri) is not None
    assert not (Path(request.uri) / "left_over.txt").exists()


def test_an_output_that_another_machine_published_meanwhile_is_kept(bring: Bring, store: str) -> None:
    step = bring("""
        step, _, fingerprint = work.out.parent.name.rpartition("-")
        theirs = work.out.parents[2] / step / fingerprint
        theirs.mkdir(parents=True)
        (theirs / "manifest.json").write_text('{"by": "another machine"}')
    """)

    uri = perform(request_for(step, store))

    assert read_manifest(uri) == {"by": "another machine"}


def test_whoever_comes_second_waits_and_says_so(bring: Bring, store: str, tmp_path: Path) -> None:
    step = bring("import time\n" + COUNTED + "time.sleep(0.6)\n")
    request = request_for(step, store, seen=str(tmp_path / "seen"))
    told: list[dict[str, Any]] = []
    first = threading.Thread(target=perform, args=(request,))
    first.start()
    while not (tmp_path / "seen").exists():
        time.sleep(0.01)

    uri = perform(request, emit=lambda event: told.append(dict(event)))

    first.join()
    assert (tmp_path / "seen").read_text() == "x"
    assert read_manifest(uri) is not None
    assert told[0] == {"text": "waiting for another run that makes the same output", "waiting": True}


def test_a_store_on_another_file_system_gets_the_whole_output(bring: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOHYDRA_CACHE", str(tmp_path / "cache"))
    store = f"memory://{tmp_path.name}/store"
    request = request_for(bring(COUNTED), store, seen=str(tmp_path / "seen"))

    assert perform(request) == perform(request) == request.uri

    assert (tmp_path / "seen").read_text() == "x"
    assert fsspec.filesystem("memory").cat(f"{request.uri}/deep/a.txt".removeprefix("memory:/")) == b"hello"


def test_a_step_reads_what_it_needs_as_a_folder(bring: Bring, store: str) -> None:
    first = perform(request_for(bring('(work.out / "a.txt").write_text("from the first")'), store))
    second = bring('(work.out / "b.txt").write_text((work.input("first") / "a.txt").read_text())')

    uri = perform(request_for(second, store, needs={"first": first}))

    assert (Path(uri) / "b.txt").read_text() == "from the first"


def test_an_input_that_was_not_asked_for_is_a_mistake_of_the_pipeline(tmp_path: Path) -> None:
    work = Work({}, tmp_path, Resources())

    with pytest.raises(ConfigError, match=r"pipeline.steps.chip: .*add chip to `needs`"):
        work.input("chip")


def test_progress_and_words_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[dict[str, Any]] = []
    work = Work({}, tmp_path, Resources(), emit=lambda event: told.append(dict(event)))

    work.progress(1, 4, "scene a")
    work.say("one scene has no labels")

    assert told == [{"progress": 1, "total": 4, "text": "scene a"}, {"text": "one scene has no labels"}]
    assert capsys.readouterr().out == "one scene has no labels\n"


def test_resources_are_no_part_of_the_identity(bring: Bring, store: str) -> None:
    step = bring("return")

    assert Request(step, {}, {}, store, Resources(cpu=1)).uri == Request(step, {}, {}, store, Resources(cpu=64, device="cuda")).uri


def test_the_place_of_a_store_is_no_part_of_the_identity(bring: Bring) -> None:
    step = bring("return")
    here, there = (Request(step, {}, {"a": f"{store}/a/0123456789abcdef"}, store) for store in ("/here", "s3://there"))

    assert here.fingerprint == there.fingerprint


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers() | st.text(max_size=3), min_size=3, max_size=3))
def test_a_request_has_the_fingerprint_that_the_plan_foretold(config: dict[str, Any]) -> None:
    stages = (Stage("one", "chip", 1, (), ("a",), "cpu"), Stage("two", "chip", step_version("chip"), ("one",), ("b", "c"), "cpu"))
    planned = make_plan("p", [Job("j", config, stages)]).step("two")
    first = make_plan("p", [Job("j", config, stages)]).step("one")

    request = Request(planned.step, planned.config, {"one": output_uri("s", "chip", first.fingerprint)}, "s")

    assert request.fingerprint == planned.fingerprint


def test_a_step_of_a_package_that_nobody_trusts_is_refused_before_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "step.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nVERSION = 1\ndef run(config, work): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ConfigError, match="not in a trusted package; if you trust it, set GEOHYDRA_PLUGINS=stranger in the environment"):
        step_module("stranger.step")

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["chipp", "geohydra.steps.nothing", "geohydra.nothing.at.all"])
def test_a_step_that_is_not_there_is_told_by_its_name(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"pipeline.steps.{name}: there is no step module"):
        step_module(name)


def test_a_module_that_is_no_step_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match=r"geohydra.errors is no step; a step module has VERSION and run"):
        step_module("geohydra.errors")


def test_a_package_that_a_step_lacks_is_not_taken_for_the_step(bring: Bring, tmp_path: Path) -> None:
    name = bring("return")
    path = tmp_path / (name.replace(".", "/") + ".py")
    path.write_text("import a_package_that_is_not_installed\n" + path.read_text())

    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_installed"):
        step_module(name)


def test_a_store_below_a_file_is_told_in_a_sentence(bring: Bring, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        perform(request_for(bring("return"), str(tmp_path / "file" / "store")))


def test_an_error_about_a_file_elsewhere_is_not_blamed_on_the_store(bring: Bring, store: str) -> None:
    with pytest.raises(PermissionError, match="secret"):
        perform(request_for(bring('raise PermissionError(13, "Permission denied", "/data/secret.tif")'), store))


def test_a_step_that_was_killed_half_way_published_nothing(bring: Bring, store: str) -> None:
    request = request_for(bring('(work.out / "half.txt").write_text("half")\nos._exit(9)'), store)

    child = os.fork()
    if child == 0:
        perform(request)
    os.waitpid(child, 0)

    assert read_manifest(request.uri) is None
    assert not Path(request.uri).exists()


def test_progress_inside_a_part_tells_of_the_whole(tmp_path: Path) -> None:
    heard: list[dict[str, object]] = []
    work = Work({}, tmp_path, Resources(), emit=lambda event: heard.append(dict(event)))

    with work.part(1, 4):
        work.progress(5, 10, "scene")
    work.progress(1, 2, "all")

    assert [(event["progress"], event["total"]) for event in heard] == [(15, 40), (1, 2)]
