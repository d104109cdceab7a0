"""What a config gets wrong is told all at once, each with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geohydra.config.checking import check, checked, locked, make_job, stages
from geohydra.config.compose import compose
from geohydra.errors import Problems


@pytest.fixture
def mistakes(project: Path) -> Callable[..., list[str]]:
    return lambda *words: [str(error) for error in check(compose(words).config)]


def test_a_good_config_has_no_mistakes(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes() == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=abc", "train.epochs: 'abc' does not fit; input should be a valid integer"),
        ("train.lr=-1", "train.lr: -1 does not fit; input should be greater than 0"),
        ("train.lr=true", "train.lr: True does not fit"),
        ("model.kind=fency", "model.kind: 'fency' does not fit; input should be 'plain' or 'fancy'"),
        ("+train.epcohs=1", "train.epcohs: Training takes no such key; did you mean 'epochs'?"),
        ("source=needy", "source.path: a value is needed; set source.path=..."),
        ("model._target_=toyparts.Powre", "model._target_: toyparts has no class Powre; did you mean 'Power'?"),
        ("model._target_=os.system", "model._target_: 'os.system' is not in a trusted package"),
        ("source=wrong", "source._target_: Power is no Source; it lacks classes, lock, scenes"),
        ("+foo=1", "foo: nothing uses this key"),
        ("seed=-1", "seed: -1 does not fit; input should be greater than or equal to 0"),
        ("name=a/b", "name: 'a/b' does not fit"),
        ("~store", "store: a value is needed; set store=..."),
        ("+lock=[1]", "lock"),
        ("hardware.cpu.memory=-4", "hardware.cpu.memory: -4 does not fit"),
        ("hardware.cpu.device=tpu", "hardware.cpu.device: 'tpu' does not fit"),
        ("pipeline.steps.train.role=big", "pipeline.steps.train.role: no role 'big' in this hardware; it has cpu, gpu, io"),
        ("pipeline.steps.train.needs=[ingets]", "pipeline.steps.train.needs: no step is called 'ingets'; did you mean 'ingest'?"),
        ("pipeline.steps.train.uses=[modle]", "pipeline.steps.train.uses: the config has no 'modle'; did you mean 'model'?"),
        ("+pipeline.steps.train.need=[]", "pipeline.steps.train.need: StageEntry takes no such key; did you mean 'needs'?"),
        ("pipeline.steps.train.step=toysteps.trian", "pipeline.steps.toysteps.trian: there is no step module toysteps.trian"),
        ("chip.size=50", "chip.size: 50 px is no multiple of 32, as this model needs; take 64"),
        ("model._target_=toyparts.Numbers", "model"),
        ("train.lr=.inf", "train.lr"),
    ],
)
def test_a_mistake_is_placed(mistakes: Callable[..., list[str]], word: str, said: str) -> None:
    if word == "+lock=[1]":
        word = "lock=[1]"
    found = mistakes(word)
    assert any(text.startswith(said) for text in found), found


def test_all_mistakes_are_told_at_once(mistakes: Callable[..., list[str]]) -> None:
    found = mistakes("train.lr=-1", "train.epochs=x", "seed=x", "model.kind=z", "pipeline.steps.train.role=big")
    assert len(found) == 5


def test_bands_must_be_those_of_the_source(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes("+model.bands=[red,gren]") == ["model.bands: the source has no band 'gren'; did you mean 'green'?"]


def test_a_batch_that_cannot_fit_is_refused_with_one_that_could(mistakes: Callable[..., list[str]]) -> None:
    (text,) = mistakes("train.batch_size=100000")
    assert text.startswith("train.batch_size: 100000 chips of 64 x 64 px take 328 GB or more (800 bytes a pixel)")
    assert text.endswith("hardware.cpu.memory is 4 GB; take 1220 or fewer, or smaller chips")


def test_a_class_brings_its_own_rules(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes("model.exponent=13") == ["model.exponent: 13 brings bad luck; take 12"]


def test_parts_that_no_step_uses_cannot_contradict(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes("chip.size=50", "pipeline.steps.train.uses=[model,train]") == []


def test_a_config_trusts_nothing_by_itself(mistakes: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOHYDRA_PLUGINS")
    assert any("set GEOHYDRA_PLUGINS=toyparts" in text for text in mistakes())


def test_a_step_of_ones_own_may_use_a_key_of_ones_own(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes("+flavour=sweet", "pipeline.steps.train.uses=[model,flavour]") == []


def test_the_lock_lists_what_the_source_stands_on(project: Path) -> None:
    (job,) = locked([checked(compose([]))])
    assert job.config["lock"] == [{"uri": "numbers", "size": 3, "role": "image"}]


def test_a_job_has_the_stages_of_its_pipeline(project: Path) -> None:
    job = make_job(compose([]))
    assert [stage.name for stage in job.stages] == ["ingest", "train"]
    assert job.stages[1].step == "toysteps.train"


def test_stages_of_a_broken_pipeline_are_refused(project: Path) -> None:
    with pytest.raises(Problems):
        stages({"pipeline": {}})
