"""The image of the steps, as a cluster would run it: nobody's user, nothing to write to, no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from geohydra import __version__

from .conftest import IMAGE

pytestmark = pytest.mark.slow

Shell = Callable[..., str]


def test_its_user_is_a_number_and_not_root(inside: Shell) -> None:
    assert inside("id", "-u").strip() == "10001"
    assert inside("id", "-g").strip() == "0"


def test_the_command_line_works_where_nothing_can_be_written(inside: Shell) -> None:
    assert __version__ in inside("geohydra", "--version")
    assert "geohydra check" in inside("geohydra", "--help")


def test_it_holds_no_kfp(inside: Shell) -> None:
    with pytest.raises(docker.errors.ContainerError, match="No module named"):
        inside("python", "-c", "import kfp")


def test_all_that_steps_import_is_there(inside: Shell, repository: Path) -> None:
    names = yaml.safe_load((repository / "conf" / "runner" / "local.yaml").read_text())["preload"]

    assert inside("python", "-W", "ignore", "-c", f"import {', '.join(names)}; print('all of them')").strip() == "all of them"


def test_any_user_of_group_0_may_write_in_the_home(inside: Shell) -> None:
    assert inside("sh", "-c", "touch ~/a && ls ~", user="4711:0", read_only=False).strip() == "a"


def test_labels_say_what_it_is(engine: Any) -> None:
    labels = engine.images.get(IMAGE).labels

    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_a_mistake_ends_with_its_sentence_and_its_code(inside: Shell) -> None:
    with pytest.raises(docker.errors.ContainerError) as refused:
        inside("geohydra", "check", "task=seeing")

    assert refused.value.exit_status == 2
    assert b"Traceback" not in refused.value.stderr
