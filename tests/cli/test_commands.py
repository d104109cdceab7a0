"""The commands as a user types them: what they print, write and return."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from geohydra import __version__
from geohydra.cli import main, split_verb, verbs
from geohydra.errors import ConfigError

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def said(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command in this process: exit code, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


Said = Callable[..., tuple[int, str, str]]


def test_no_verb_means_run() -> None:
    assert split_verb(["train.lr=1"]) == ("run", ["train.lr=1"])
    assert split_verb(["-m", "train.lr=1,2"]) == ("run", ["-m", "train.lr=1,2"])
    assert split_verb([]) == ("run", [])


def test_an_unknown_verb_gets_a_near_miss() -> None:
    with pytest.raises(ConfigError, match="did you mean 'compile'"):
        split_verb(["complie", "-o", "x"])


def test_help_lists_verbs_groups_and_examples(said: Said) -> None:
    code, out, _ = said("--help")
    assert code == 0
    assert all(f"\n  {verb} " in out for verb in verbs())
    assert "cube" in out
    assert "examples:" in out


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_has_a_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"geohydra {verb}" in text
    assert "examples:" in text


def test_the_version_is_told(said: Said) -> None:
    assert said("--version") == (0, f"geohydra {__version__}\n", "")


def test_cfg_prints_the_composed_config(said: Said) -> None:
    code, out, _ = said("--cfg", "job", "-p", "train", "train.lr=3")
    assert code == 0
    assert "lr: 3" in out


def test_info_prints_where_configs_are_found(geohydra: Call, project: Path) -> None:
    assert str(project / "conf") in geohydra("--info", "searchpath").stdout


def test_a_mistake_is_one_line_without_a_traceback(said: Said) -> None:
    code, out, err = said("plan", "train.lrr=1")
    assert (code, out) == (2, "")
    assert err == "geohydra: train.lrr: there is no such key; did you mean 'train.lr'?\n"


def test_several_mistakes_are_a_line_each(said: Said) -> None:
    code, _, err = said("plan", "train.lr=-1", "model.kind=x")
    assert code == 2
    assert [line.split(":")[:2] for line in err.splitlines()] == [["geohydra", " model.kind"], ["geohydra", " train.lr"]]


def test_an_unknown_flag_is_a_mistake_like_any_other(said: Said) -> None:
    assert said("plan", "--jsn") == (2, "", "geohydra: plan: unrecognized arguments: --jsn; see geohydra plan --help\n")


def test_a_fault_of_ours_leaves_its_traceback_in_a_file(said: Said, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(project))
    monkeypatch.setattr("tempfile.tempdir", None)
    broken = project / "library" / "toyparts.py"
    broken.write_text(broken.read_text().replace("return [LockEntry", "return [1 / 0, LockEntry"))
    code, _, err = said("plan")
    (log,) = project.glob("geohydra-*.log")
    assert code == 70
    assert err == f"geohydra: this is a fault of geohydra, not yours: ZeroDivisionError: division by zero; please report {log}\n"
    assert "Traceback" in log.read_text()


def test_plan_prints_a_tree(said: Said) -> None:
    code, out, _ = said("plan")
    assert code == 0
    assert out.startswith("toy: 2 steps, 0 stored\ningest    io    to do ")


def test_plan_as_json_holds_the_config_of_every_step(said: Said) -> None:
    _, out, _ = said("plan", "--json")
    steps = {step["id"]: step for step in json.loads(out)["steps"]}
    assert steps["ingest"]["config"]["lock"] == [{"uri": "numbers", "size": 3, "role": "image"}]


def test_plan_of_a_sweep_is_one_plan(said: Said) -> None:
    _, out, _ = said("plan", "-m", "train.lr=1,2", "model=power,cube")
    assert out.startswith("toy: 5 steps for 4 jobs, 0 stored\n")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plan_saves_a_picture(said: Said, project: Path, ending: str) -> None:
    path = project / f"plan.{ending}"
    assert said("plan", "-m", "train.lr=1,2", "-o", str(path))[0] == 0
    if ending == "svg":
        assert sum(element.tag.endswith("rect") for element in ElementTree.parse(path).iter()) == 1 + 3
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_an_unknown_kind_is_refused(said: Said) -> None:
    code, _, err = said("plan", "-o", "plan.doc")
    assert code == 2
    assert err == "geohydra: -o plan.doc: .doc is no picture; take .svg or .png\n"


def test_flags_may_stand_between_overrides(said: Said) -> None:
    _, out, _ = said("plan", "train.lr=1,2", "-m", "model=cube")
    assert "2 jobs" in out


def test_another_conf_folder_can_be_named(said: Said, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOHYDRA_CONF", "")
    (project / "conf").rename(project / "mine")
    assert said("plan", "-cd", "mine")[1].startswith("toy: 2 steps")


def test_run_prints_metrics_and_where_things_are(geohydra: Call, project: Path) -> None:
    done = geohydra("train.lr=2")

    assert done.returncode == 0, done.stderr
    assert "val/total     10" in done.stdout
    folder = project / "outputs" / "runs" / "latest"
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "plan.json", "plan.txt", "lock.json", "results", "logs"}
    assert json.loads((folder / "results" / "train" / "total.json").read_text()) == 10.0
    assert f"run       {(folder.resolve()).relative_to(project)}" in done.stdout


def test_a_second_run_is_served_from_the_store(geohydra: Call) -> None:
    geohydra()
    assert "0 made in 0.0 s, 2 from the store" in geohydra().stdout


def test_a_failed_step_gives_its_own_exit_code_and_one_line(geohydra: Call) -> None:
    done = geohydra("model.exponent=7")
    assert done.returncode == 3
    assert done.stderr.startswith("geohydra: step train failed: model.exponent: seven does not train; take another (log: outputs/runs/")
    assert "Traceback" not in done.stderr + done.stdout


def test_a_failed_job_stops_no_other(geohydra: Call, project: Path) -> None:
    done = geohydra("-m", "model.exponent=1,7,2")

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    table = [line.split()[:3] for line in done.stdout.splitlines() if line.startswith("toy-")]
    assert table == [["toy-2", "done", "2.5"], ["toy-0", "done", "1.5"], ["toy-1", "failed", "model.exponent=7"]]
    configs = sorted(path.parent.name for path in (project / "outputs/runs/latest/jobs").glob("*/config.yaml"))
    assert configs == ["toy-0", "toy-1", "toy-2"]


def test_nothing_runs_when_one_job_of_a_sweep_is_wrong(geohydra: Call, project: Path) -> None:
    done = geohydra("-m", "train.lr=1,-1")
    assert done.returncode == 2
    assert done.stderr == "geohydra: job 1: train.lr: -1 does not fit; input should be greater than 0\n"
    assert not (project / "outputs").exists()


def test_init_lays_down_a_project_and_overwrites_nothing(said: Said, project: Path) -> None:
    (project / "new").mkdir()
    (project / "new" / "README.md").write_text("mine")
    code, out, _ = said("init", "new")
    assert code == 0
    assert (project / "new" / "README.md").read_text() == "mine"
    assert (project / "new" / "conf" / "source" / "mine.yaml").exists()
    assert "kept     new/README.md" in out


def test_a_place_that_cannot_be_written_is_told(said: Said, project: Path) -> None:
    (project / "file").write_text("")
    code, _, err = said("init", "file/below")
    assert code == 4
    assert err.startswith("geohydra: file/below: a file stands where a folder is needed")


def test_check_gives_a_verdict_on_config_and_data(said: Said) -> None:
    code, out, _ = said("check")
    assert code == 0
    assert out.splitlines() == ["config: good", "scene    verdict", "-------  -------", "numbers  listed", "data: good, 1 scene, 1 file"]


def test_check_looks_at_no_file_where_the_config_is_wrong(said: Said) -> None:
    code, out, err = said("check", "-m", "train.lr=1,-1")
    assert (code, out) == (2, "config of 2 jobs: 1 mistake\n")
    assert err.startswith("geohydra: job 1: train.lr: -1 does not fit")


def test_check_of_the_config_alone_opens_nothing(said: Said) -> None:
    assert said("check", "--no-data")[1] == "config: good\n"
