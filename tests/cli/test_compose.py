"""From words to configs: what overrides do, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from geohydra.command.arguments import Asked
from geohydra.config.compose import Composed, compose
from geohydra.config.folders import groups
from geohydra.errors import ConfigError, GeohydraError


def sweep_of(*words: str) -> list[Composed]:
    return Asked(words, multirun=True, name="geohydra").compose()


def mistake(*words: str) -> str:
    with pytest.raises(GeohydraError) as caught:
        compose(words)
    return str(caught.value)


def test_a_config_is_plain_and_resolved(project: Path) -> None:
    composed = compose(["train.lr=3"])
    assert composed.config["store"] == "outputs/store"
    assert composed.config["train"] == {"_target_": "toyparts.Training", "lr": 3, "epochs": 1, "batch_size": 4}
    assert "hydra" not in composed.config
    assert composed.overrides == ("train.lr=3",)
    assert composed.choices is not None
    assert composed.choices["model"] == "power"


def test_a_users_file_shadows_the_shipped_one_and_adds_to_its_group(project: Path) -> None:
    assert compose([]).config["name"] == "toy"
    assert {"power", "unet"} <= set(groups()["model"])


def test_an_experiment_overrides_choices_and_values(project: Path) -> None:
    config = compose(["experiment=big"]).config
    assert (config["model"]["exponent"], config["train"]["lr"]) == (3, 2.0)


def test_a_word_on_the_command_line_beats_the_experiment(project: Path) -> None:
    assert compose(["experiment=big", "train.lr=7"]).config["train"]["lr"] == 7


def test_another_primary_config_can_be_named(project: Path) -> None:
    (project / "conf" / "mine.yaml").write_text("defaults: [geohydra, override model: cube, _self_]\nname: mine\n")
    assert compose([], name="mine").config["model"]["exponent"] == 3


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.lrr=1", "train.lrr: there is no such key; did you mean 'train.lr'?"),
        ("lr=1", "lr: there is no such key; did you mean 'train.lr'?"),
        ("trian.epochs=1", "trian.epochs: there is no such key; did you mean 'train.epochs'?"),
        ("modle=cube", "modle: there is no such key; did you mean 'model'?"),
        ("zzz=1", "zzz: there is no such key; write +zzz=... if you mean to add it"),
        ("model=cub", "model: there is no option 'cub'; did you mean 'cube'?"),
        ("model=cube,power", "model: cube,power is several values; add -m to run each of them, or write model=[cube,power] for a list"),
        ("train.lr=range(1,3)", "train.lr: range(1,3) is several values; add -m"),
        ("train.lr=[1", "train.lr=[1: this word cannot be understood; quote a value"),
        ("source.path=POINT(1 2)", "source.path=POINT(1 2): this word cannot be understood"),
        (
            'train.lr={a: 1, "*": 2}',
            'train.lr={a: 1, "*": 2}: this word cannot be understood; inside of { } the word before a colon has no quotes: {road: 4, *: 1}',
        ),
        ("justaword", "justaword: this word cannot be understood; an override is written key=value"),
        ("+train.lr=1", "train.lr: this key exists already; leave out the +"),
        ("+experiment=big", "experiment: this group is chosen already; leave out the +"),
        ("~trian", "trian: there is no such key; did you mean 'train'?"),
        ("name=${nothing}", "name: interpolation key 'nothing' not found"),
    ],
)
def test_a_wrong_word_is_explained_in_one_line(project: Path, word: str, said: str) -> None:
    text = mistake(word)
    assert text.startswith(said)
    assert "\n" not in text


def test_a_hint_lists_the_options_of_a_group(project: Path) -> None:
    assert "cube" in mistake("model=xyzzy")


def test_an_unknown_primary_config_is_named(project: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config called 'mine'"):
        compose([], name="mine")


def test_broken_yaml_is_placed(project: Path) -> None:
    (project / "conf" / "model" / "bad.yaml").write_text("a: 1\nb: [1, 2\n")
    assert "bad.yaml:" in mistake("model=bad")
    assert "this is not yaml" in mistake("model=bad")


def test_a_conf_folder_that_is_named_must_be_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOHYDRA_CONF", "nowhere")
    assert mistake().startswith("GEOHYDRA_CONF: there is no folder nowhere")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["train.lr=1,2"], [1, 2]),
        (["train.lr=range(1,4)"], [1, 2, 3]),
        (["train.lr=choice(5,6)"], [5, 6]),
        (["train.lr=interval(1,4)"], None),
    ],
)
def test_a_sweep_takes_hydras_grammar(project: Path, words: Sequence[str], values: list[int] | None) -> None:
    if values is None:
        with pytest.raises(ConfigError, match=r"train\.lr: an interval is no list of values"):
            sweep_of(*words)
        return
    jobs = sweep_of(*words)
    assert [job.config["train"]["lr"] for job in jobs] == values
    assert [job.number for job in jobs] == list(range(len(values)))


def test_a_sweep_is_the_product_of_what_is_swept(project: Path) -> None:
    assert [job.overrides for job in sweep_of("model=power,cube", "train.lr=1,2")] == [
        ("model=power", "train.lr=1"),
        ("model=power", "train.lr=2"),
        ("model=cube", "train.lr=1"),
        ("model=cube", "train.lr=2"),
    ]


def test_a_sweep_finds_options_by_a_pattern(project: Path) -> None:
    assert [job.config["model"]["exponent"] for job in sweep_of("model=glob(po*)")] == [2]


def test_a_wrong_job_of_a_sweep_is_numbered(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^job 1: model: there is no option 'cub'; did you mean 'cube'"):
        sweep_of("model=power,cub")


def test_batches_go_on_after_a_job_that_failed(project: Path) -> None:
    seen: list[int] = []

    def answer(jobs: Sequence[Composed]) -> Sequence[float | Exception]:
        seen.append(len(jobs))
        return [RuntimeError("no")] * len(jobs)

    Asked(("train.lr=1,2,3", "hydra.sweeper.max_batch_size=2"), multirun=True, name="geohydra").sweep(answer, lambda search: None)

    assert seen == [2, 1]


def test_nothing_is_written_while_composing(project: Path) -> None:
    sweep_of("train.lr=1,2")
    assert {path.name for path in project.iterdir()} == {"conf", "library"}
