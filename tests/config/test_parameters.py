"""Keys that can be changed when a run starts bring the keys that follow them; what is computed from one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.config.compose import compose
from geohydra.config.parameters import parameters_of
from geohydra.errors import ConfigError


def test_keys_that_follow_another_change_with_it() -> None:
    job = compose(["pipeline.parameters=[train.lr,seed,predict.tta,augment]"])

    assert parameters_of(job) == {
        "train.lr": ("train.lr", "optimizer.lr"),
        "seed": ("seed", "source.seed"),
        "predict.tta": ("predict.tta",),
        "augment": ("augment",),
    }


def test_a_key_from_which_another_is_computed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "evaluate").mkdir(parents=True)
    (tmp_path / "conf" / "evaluate" / "mine.yaml").write_text("_target_: geohydra.evaluation.settings.Evaluation\nsplits: ['of ${name}']\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"evaluate\.splits is computed from 'name'"):
        parameters_of(compose(["pipeline.parameters=[name]", "evaluate=mine"]))
