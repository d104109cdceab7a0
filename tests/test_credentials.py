"""What looks like a credential is found, and what does not is left alone. The examples are made up here, and open nothing."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
import yaml

from geohydra.credentials import blanked, credential_in, credentials, refuse_credentials
from geohydra.errors import ConfigError

ANY = string.ascii_letters + string.digits


def drawn(length: int, signs: str = ANY, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(signs, k=length))


FOUND = {
    "an AWS access key": "AKIA" + drawn(16, string.ascii_uppercase + string.digits),
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a signed address": "https://store.example.org/a.tif?se=2030&sig=" + drawn(43),
    "a password in an address": "postgresql://mlflow:" + "hunter2" + "@db.example.org/mlflow",
    "an Azure account key": "AccountName=x;AccountKey=" + drawn(86) + "==",
    "a Google key": "AIza" + drawn(35),
    "a GitHub token": "ghp_" + drawn(36),
    "a GitLab token": "glpat-" + drawn(20),
    "a Slack token": "xoxb-" + drawn(24, string.digits),
    "a Hugging Face token": "hf_" + drawn(34),
    "an API key": "sk-" + drawn(40),
    "a signed token": f"eyJ{drawn(20)}.eyJ{drawn(40)}.{drawn(43)}",
    "a bearer token": "Bearer " + drawn(40),
}


@pytest.mark.parametrize(("told", "text"), FOUND.items())
def test_keys_of_well_known_services_are_found_in_a_text(told: str, text: str) -> None:
    assert credential_in(f"before {text} after") == told
    assert credential_in(blanked(f"before {text} after")) is None
    assert blanked(f"before {text} after").startswith("before ")


@pytest.mark.parametrize("seed", range(20))
def test_secret_keys_are_found_by_their_randomness(seed: int) -> None:
    assert credential_in(drawn(40, ANY + "/+", seed)) == "a secret key"


@pytest.mark.parametrize(
    ("key", "value"), [("password", "hunter2"), ("api_key", drawn(24)), ("db_password", "geheim"), ("token", drawn(20))]
)
def test_a_value_is_given_away_by_its_key(key: str, value: str) -> None:
    assert [place for place, _ in credentials({"source": {key: value}})] == [f"source.{key}"]


@pytest.mark.parametrize(
    "value",
    [
        {"secret_env": {"AWS_SECRET_ACCESS_KEY": "store-keys/secret", "MLFLOW_TRACKING_PASSWORD": "mlflow/password"}},
        {"password": None, "token": "", "api_key": "${oc.env:KEY}"},
        {"tokens": "a sequence of tokens for the network 12345", "secret": "not 1 secret at all, words only"},
        "3f2a9c0d4e5b6a7f8091a2b3c4d5e6f708192a3b",
        "registry.example.org/geohydra@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "s3://bucket/Landsat8/Collection2/Level2/LC08_L2SP_193026_20210401_20210409_02_T1",
        "geohydra.tasks.semantic_segmentation.SemanticSegmentation",
        "S2B_MSIL2A_20200102T101319_N0213_R022_T33UUP_20200102T120312.SAFE",
        "https://user@example.org/path:with/colon@sign",
        "mlflow-artifacts:/0/9a1d3c5be1a54d7fa3c54ea6f2b7c9d0/artifacts",
        "internationalization/Configuration/Files",
        "data/LC08/B4_Surface_Reflectance_2021_Q1",
    ],
)
def test_names_digests_and_paths_are_no_credentials(value: object) -> None:
    assert list(credentials(value)) == []


def test_nothing_that_is_shipped_looks_like_one(repository: Path) -> None:
    for path in (repository / "conf").rglob("*.yaml"):
        assert list(credentials(yaml.safe_load(path.read_text()))) == [], path


def test_a_refusal_names_the_place_and_never_the_value() -> None:
    secret = FOUND["a GitHub token"]

    with pytest.raises(ConfigError) as caught:
        refuse_credentials({"source": {"files": ["a", secret]}})

    assert caught.value.where == "source.files[1]"
    assert secret not in str(caught.value)
    assert "cluster.secret_env" in caught.value.hint
