"""docker/compose.yaml and what lies beside it: well formed, pinned, without secrets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
FILES = ("compose.yaml", "compose.auth.yaml")


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_is_what_the_specification_allows(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DOCKER / name)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_images_have_versions() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

    assert len(services) == 3
    assert all(re.search(r":\d+(\.\d+)+", one["image"]) for one in services.values())
    assert all(one["healthcheck"]["test"] for one in services.values())


def test_the_server_image_installs_the_version_that_its_name_says() -> None:
    image = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["tracking"]["image"]
    recipe = (DOCKER / "tracking.Dockerfile").read_text()

    assert f'"mlflow[auth]=={image.partition(":")[2]}"' in recipe
    assert "\nUSER 10001\n" in recipe


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_secret_comes_from_the_file_that_git_ignores(name: str) -> None:
    services = yaml.safe_load((DOCKER / name).read_text())["services"]
    secret = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")

    told = {key: value for one in services.values() for key, value in one.get("environment", {}).items() if secret.search(key)}

    assert told
    assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in told.values())


def test_the_example_names_every_variable_and_no_secret(repository: Path) -> None:
    asked = {name for file in FILES for name in re.findall(r"\$\{(\w+)", (DOCKER / file).read_text())}
    lines = [line for line in (DOCKER / "env.example").read_text().splitlines() if line and not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)

    assert set(given) == asked
    assert {name for name, value in given.items() if value} == {"LISTEN_ON", "ALLOWED_HOSTS"}
    ignored = subprocess.run(["git", "check-ignore", "docker/.env"], cwd=repository, capture_output=True, check=False)
    assert ignored.returncode == 0
