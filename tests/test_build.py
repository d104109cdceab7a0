"""A config node becomes an object, or every mistake in it is told with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from geohydra.build import build, near, problems, resolve
from geohydra.errors import ConfigError, Problems

MODULE = '''
from __future__ import annotations
from pathlib import Path
from subprocess import Popen
from typing import Annotated, Literal
from pydantic import Field

class Engine:
    def __init__(self, *, power: Annotated[int, Field(ge=1, le=500)] = 100, fuel: Literal["wood", "coal"] = "coal") -> None:
        self.power, self.fuel = power, fuel

class Train:
    """Takes other objects."""
    def __init__(self, *, name: str, engine: Engine | None = None, cars: list[int] | None = None, speed: float = 1.0,
                 stops: dict[str, Annotated[float, Field(gt=0)]] | None = None, delay: Annotated[int, Field(ge=0)] | None = None,
                 express: bool = False) -> None:
        if name == "ghost":
            raise ValueError("there are no ghosts")
        self.name, self.engine, self.cars = name, engine, cars
        self.speed, self.stops, self.delay, self.express = speed, stops, delay, express

class Open:
    def __init__(self, *, first: int, **rest: object) -> None:
        self.first, self.rest = first, rest

def make() -> None: ...
'''


@pytest.fixture
def railway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of somebody else, which the environment trusts."""
    (tmp_path / "railway_plugin.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "other, railway_plugin")
    return "railway_plugin"


@pytest.fixture
def told(railway: str) -> Callable[[dict[str, Any]], list[str]]:
    """Mistakes of a train, as text."""

    def tell(node: dict[str, Any]) -> list[str]:
        return [str(error) for error in problems({"_target_": f"{railway}.Train"} | node, where="train")]

    return tell


def test_a_node_becomes_an_object_with_the_defaults_of_its_class(railway):
    train = build({"_target_": f"{railway}.Train", "name": "a", "cars": [1, 2]}, where="train")

    assert (train.name, train.cars, train.speed, train.engine) == ("a", [1, 2], 1.0, None)


def test_nodes_inside_it_are_built_first(railway):
    node = {"_target_": f"{railway}.Train", "name": "a", "engine": {"_target_": f"{railway}.Engine", "power": 7}}

    assert build(node, where="train").engine.power == 7


def test_numbers_written_as_text_are_numbers(railway):
    assert build({"_target_": f"{railway}.Train", "name": "a", "speed": "1e-3"}, where="train").speed == 0.001


def test_a_class_that_takes_anything_gets_it(railway):
    built = build({"_target_": f"{railway}.Open", "first": 1, "second": "2"}, where="open")

    assert (built.first, built.rest) == (1, {"second": "2"})


def test_an_unknown_key_is_told_with_a_near_miss(told):
    assert told({"name": "a", "sped": 2}) == ["train.sped: Train takes no such key; did you mean 'speed'?"]


def test_a_value_of_the_wrong_type_is_told(told):
    assert told({"name": "a", "cars": ["x"]})[0].startswith("train.cars[0]: 'x' does not fit; input should be a valid integer")


def test_a_value_out_of_bounds_is_told_with_its_place(told, railway):
    (text,) = told({"name": "a", "engine": {"_target_": f"{railway}.Engine", "power": 900}})

    assert text == "train.engine.power: 900 does not fit; input should be less than or equal to 500"


def test_a_choice_that_is_none_is_told_with_all(told, railway):
    (text,) = told({"name": "a", "engine": {"_target_": f"{railway}.Engine", "fuel": "gas"}})

    assert text == "train.engine.fuel: 'gas' does not fit; input should be 'wood' or 'coal'"


@pytest.mark.parametrize("node", [{}, {"name": "???"}])
def test_a_missing_value_is_told(told, node):
    assert told(node) == ["train.name: a value is needed; set train.name=..."]


@pytest.mark.parametrize("key", ["speed", "delay"])
def test_true_is_no_number(told, key):
    (text,) = told({"name": "a", key: True})

    assert text.startswith(f"train.{key}: True does not fit")
    assert "a number is needed" in text


def test_true_is_a_truth_value(railway):
    assert build({"_target_": f"{railway}.Train", "name": "a", "express": True}, where="train").express is True


def test_a_key_with_a_hyphen_is_named_whole(told):
    (text,) = told({"name": "a", "stops": {"Berlin-Mitte": -1}})

    assert text.startswith("train.stops.Berlin-Mitte: -1 does not fit")


def test_an_object_of_another_class_does_not_fit(told, railway):
    (text,) = told({"name": "a", "engine": {"_target_": f"{railway}.Open", "first": 1}})

    assert text.startswith("train.engine: 'Open' does not fit; input should be an instance of Engine")


def test_all_mistakes_are_told_at_once(told, railway):
    node = {"cars": "x", "sped": 2, "engine": {"_target_": f"{railway}.Engine", "power": 0, "colour": "red"}}

    places = {text.split(":")[0] for text in told(node)}

    assert places == {"train.name", "train.cars", "train.sped", "train.engine.power", "train.engine.colour"}


def test_what_a_constructor_says_gets_its_place(told):
    assert told({"name": "ghost"}) == ["train: there are no ghosts"]


def test_build_raises_what_problems_tells(railway):
    with pytest.raises(Problems, match=r"train.name: a value is needed"):
        build({"_target_": f"{railway}.Train"}, where="train")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "None names no class; it is written package.module.Class"),
        ("Train", "'Train' names no class"),
        ("os.system", "'os.system' is not in a trusted package; if you trust it, set GEOHYDRA_PLUGINS=os in the environment"),
        ("geohydra.nothing.Train", "there is no module geohydra.nothing; check the spelling"),
        ("geohydra.types.Windw", "geohydra.types has no class Windw; did you mean 'Window'?"),
        ("geohydra.build.build", "geohydra.build has no class build"),
        ("geohydra.storage.Path", "is a class of pathlib, which is not a trusted package"),
        ("railway_plugin.Popen", "'railway_plugin.Popen' is a class of subprocess, which is not a trusted package"),
    ],
)
def test_a_target_that_cannot_be_is_told(railway, target, message):
    with pytest.raises(ConfigError) as caught:
        resolve(target, where="x")

    assert caught.value.where == "x._target_"
    assert message in str(caught.value)


def test_a_config_cannot_trust_a_package_by_itself(tmp_path, monkeypatch):
    (tmp_path / "stranger_plugin.py").write_text("class Thing: ...\nopen('ran', 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    found = problems({"_target_": "stranger_plugin.Thing", "plugins": ["stranger_plugin"]}, where="task")

    assert "not in a trusted package" in str(found[0])
    assert not Path("ran").exists()


def test_a_module_that_lacks_a_package_says_which(tmp_path, monkeypatch):
    (tmp_path / "poor_plugin.py").write_text("import there_is_no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "poor_plugin")

    with pytest.raises(ConfigError, match="poor_plugin needs the package there_is_no_such_package; pip install there_is_no_such_package"):
        resolve("poor_plugin.Thing", where="x")


def test_a_hint_is_the_nearest_word_or_all():
    assert near("unett", ["unet", "fpn"]) == "did you mean 'unet'?"
    assert near("zzz", ["unet", "fpn"]) == "known are fpn, unet"
    assert near("zzz", []) == ""


def test_the_shipped_choices_fit_their_classes(repository):
    fill = {"${train.lr}": 1e-3, "${train.weight_decay}": 1e-4, "${name}": "demo", "${task.cell}": 16}
    for group in ("task", "model", "loss", "optimizer", "train", "bundle"):
        for path in sorted((repository / "conf" / group).glob("*.yaml")):
            node = {
                key: fill.get(value, value) if isinstance(value, str) else value for key, value in yaml.safe_load(path.read_text()).items()
            }

            assert problems(node, where=group) == [], path
