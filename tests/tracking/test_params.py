"""What MLflow is told of a config."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.tracking.params import cut, flatten, git_commit, job_params, key_name, run_tags, summary, swept_numbers


def test_nested_keys_are_joined_by_dots():
    assert flatten({"train": {"lr": 0.001, "batch": {"size": 8}}}) == {"train.lr": "0.001", "train.batch.size": "8"}


def test_a_list_is_one_value():
    assert flatten({"bands": ["B04", "B03"], "empty": [], "nested": [{"a": 1}]}) == {
        "bands": "B04, B03",
        "empty": "",
        "nested": '[{"a": 1}]',
    }


def test_none_and_truth_are_written_as_in_yaml():
    assert flatten({"a": None, "b": True}) == {"a": "none", "b": "true"}


def test_a_long_value_is_cut_with_an_ellipsis():
    assert cut("abcdef", 4) == "abc…"
    assert len(flatten({"wkt": "x" * 9000})["wkt"]) == 500


def test_parts_that_nobody_compares_are_left_out():
    assert job_params({"name": "a", "lock": [{"uri": "x"}], "runner": {"parallel": 2}}) == {"name": "a"}


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_every_key_is_one_that_mlflow_takes(key: str):
    from mlflow.utils.validation import _validate_param_name

    _validate_param_name(key_name(key))


def test_a_plain_key_stays_as_it_is():
    assert key_name("val/iou of class 1.water-x:y_z") == "val/iou of class 1.water-x:y_z"


@pytest.mark.parametrize(
    ("override", "metrics"),
    [
        ("train.lr=1e-3", {"hp/train.lr": 0.001}),
        ("+train.extra=4", {"hp/train.extra": 4.0}),
        ("model=unet", {}),
        ("train.lr=1e-3,1e-4", {}),
        ("~train.lr", {}),
        ("a=nan", {}),
        ("a=true", {}),
        ("hydra.sweep.dir=3", {}),
    ],
)
def test_only_numbers_are_mirrored_as_metrics(override: str, metrics: dict[str, float]):
    assert swept_numbers([override]) == metrics


def test_tags_hold_only_what_is_known():
    tags = run_tags("job", ["a=1", "b=2"], number=3, commit="")

    assert tags["geohydra.kind"] == "job"
    assert tags["geohydra.overrides"] == "a=1 b=2"
    assert tags["hydra.job.num"] == "3"
    assert "mlflow.source.git.commit" not in tags


def test_the_commit_of_a_repository_is_found(tmp_path: Path):
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "one"], cwd=tmp_path, check=True)

    assert len(git_commit(tmp_path)) == 40


def test_no_repository_is_no_commit(tmp_path: Path):
    assert git_commit(tmp_path) == ""


def test_the_note_says_task_source_model_and_overrides():
    config = {"task": {"_target_": "a.b.Detection", "classes": ["ship", "boat"]}, "model": {"_target_": "x.Smp", "encoder": "mit_b0"}}

    assert (
        summary(config, ["train.lr=1"]) == "- task: Detection, classes ship, boat\n- model: Smp, encoder mit_b0\n- overrides: `train.lr=1`"
    )
