"""What `pipeline`, `deploy` and the rest of the config say beside the steps is checked before anything is planned."""

from __future__ import annotations

import pytest

from geohydra.config.checking import check, stages
from geohydra.config.compose import compose


def mistakes(*words: str) -> list[str]:
    return [str(error) for error in check(compose(["tracking=none", *words]).config)]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pipeline.shards.predict=65", "pipeline.shards.predict: 65 does not fit"),
        ("pipeline.shards.chip=0", "pipeline.shards.chip: 0 does not fit"),
        (
            "+pipeline.shards.train=2",
            "pipeline.shards.train: the work of this step cannot be divided; that of ingest, chip",
        ),
        ("+pipeline.shards.predcit=2", "pipeline.shards.predcit: no step is called 'predcit'; did you mean 'predict'?"),
        ("pipeline.parameters=[train.lrr]", "pipeline.parameters: the config has no 'train.lrr'"),
        ("pipeline.parameters=[outputs]", "pipeline.parameters: no step uses 'outputs'"),
        ("+pipeline.shard=3", "pipeline.shard: Pipeline takes no such key; did you mean 'shards'?"),
        ("deploy.when='test/iou >'", "deploy.when: 'test/iou >' is no condition: it ends too early"),
        ("+source.api_key=a1b2c3d4e5f6g7h8", "source.api_key: "),
        ("+hardware.gpu.shm=8GB", "hardware.gpu.shm: '8GB' does not fit"),
        ("cluster.pull_policy=Often", "cluster.pull_policy: 'Often' does not fit"),
        ("source=files 'source.images=https://me:geheim@example.org/a.tif'", "source.images: this looks like a password in an address"),
    ],
)
def test_a_mistake_is_placed(word: str, said: str) -> None:
    words = word.split(" ") if word.startswith("source=") else [word]

    found = mistakes(*(one.strip("'") if one.startswith("'") else one for one in words))

    assert any(text.startswith(said) for text in found), found


def test_the_default_has_no_deploy_step() -> None:
    assert [stage.name for stage in stages(compose([]).config)][-1] == "bundle"


def test_a_condition_adds_a_deploy_step_that_waits_for_it() -> None:
    last = stages(compose(["deploy.when='test/iou >= 0.7'"]).config)[-1]

    assert (last.name, last.when, last.needs) == ("deploy", "test/iou >= 0.7", ("evaluate", "bundle"))


def test_shards_reach_their_stage_and_good_words_are_no_mistakes() -> None:
    words = ["pipeline.shards.predict=8", "pipeline.parameters=[train.lr,deploy.when]", "deploy.when=always", "hardware=spot"]

    assert mistakes(*words) == []
    assert {stage.name: stage.shards for stage in stages(compose(words).config)}["predict"] == 8
