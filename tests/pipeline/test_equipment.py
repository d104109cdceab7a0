"""What roles and clusters ask for arrives in the file: what every engine knows in the first document, the rest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from geohydra.build import build
from geohydra.config.compose import compose
from geohydra.errors import ConfigError, Problems
from geohydra.pipeline.cluster import Cluster, Scratch
from geohydra.pipeline.documents import Compiled
from geohydra.pipeline.hardware import read_role
from geohydra.pipeline.render import compile_plan
from geohydra.plan import make_plan

from .conftest import numbers

FULL: dict[str, Any] = {
    "cpu": 4,
    "memory": 16.5,
    "memory_request": 8,
    "cpu_request": 0.5,
    "gpu": 2,
    "device": "cuda",
    "workers": 3,
    "shm": "8Gi",
    "timeout": "6h",
    "retries": 3,
    "backoff": {"first": "10s", "factor": 3, "longest": "5m"},
    "image": "other:1",
    "node_selector": {"cloud.google.com/gke-spot": "true"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "labels": {"team": "forest"},
}


def written(folder: Path, role: dict[str, Any], cluster: Cluster | None = None) -> Compiled:
    plan = make_plan("p", [numbers({"n": 1, "scale": 1})])
    return compile_plan(plan, folder / "p.yaml", store="s3://b/s", hardware={"cpu": role}, image="one:1", cluster=cluster)


def container(compiled: Compiled, name: str = "exec-plugged-number") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(compiled.path.read_text())["deploymentSpec"]["executors"][name]["container"]
    return found


def overlay(compiled: Compiled, name: str = "exec-plugged-number") -> dict[str, Any]:
    assert compiled.kubernetes is not None
    _, second = yaml.safe_load_all(compiled.kubernetes.read_text())
    found: dict[str, Any] = second["platforms"]["kubernetes"]["deploymentSpec"]["executors"][name]
    return found


def test_a_role_becomes_resources_image_and_retries(steps: Path, tmp_path: Path) -> None:
    compiled = written(tmp_path, FULL)

    asked = container(compiled)
    assert asked["image"] == "other:1"
    assert asked["resources"]["resourceCpuLimit"] == "4"
    assert asked["resources"]["resourceCpuRequest"] == "0.5"
    assert asked["resources"]["resourceMemoryLimit"] == "16500M"
    assert asked["resources"]["resourceMemoryRequest"] == "8G"
    assert asked["resources"]["accelerator"] == {
        "count": "2",
        "resourceCount": "2",
        "resourceType": "nvidia.com/gpu",
        "type": "nvidia.com/gpu",
    }
    dag = yaml.safe_load(compiled.path.read_text())["components"]["comp-exit-handler-1"]["dag"]
    assert dag["tasks"]["plugged-number"]["retryPolicy"] == {
        "backoffDuration": "10s",
        "backoffFactor": 3.0,
        "backoffMaxDuration": "300s",
        "maxRetryCount": 3,
    }


def test_what_only_kubernetes_knows_stands_in_a_second_document(steps: Path, tmp_path: Path) -> None:
    compiled = written(tmp_path, FULL)

    assert "platforms" not in compiled.path.read_text()
    assert compiled.kubernetes == compiled.upload == tmp_path / "p.kubernetes.yaml"
    assert compiled.kubernetes.read_text().startswith(compiled.path.read_text())
    asked = overlay(compiled)
    assert asked["activeDeadlineSeconds"] == "21600"
    assert asked["emptyDirMounts"] == [{"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "8Gi", "volumeName": "shm"}]
    assert asked["nodeSelector"]["labels"] == {"cloud.google.com/gke-spot": "true"}
    assert asked["tolerations"] == [{"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}]
    assert asked["podMetadata"]["labels"] == {"team": "forest"}


def test_without_such_settings_there_is_one_file(steps: Path, tmp_path: Path) -> None:
    written(tmp_path, FULL)
    compiled = written(tmp_path, {"cpu": 1, "memory": 1})

    assert compiled.kubernetes is None
    assert compiled.upload == compiled.path
    assert [path.name for path in tmp_path.glob("*.yaml")] == ["p.yaml"]


def test_every_pod_gets_secrets_by_name_and_nothing_of_their_values(steps: Path, tmp_path: Path) -> None:
    cluster = Cluster(
        pull_secrets=["registry"],
        pull_policy="Always",
        env={"AWS_ENDPOINT_URL": "http://store:9000"},
        secret_env={"AWS_ACCESS_KEY_ID": "store-keys/id", "AWS_SECRET_ACCESS_KEY": "store-keys/secret"},
        secret_files={"/etc/gdal": "gdal"},
        config_env={"MLFLOW_TRACKING_URI": "mlflow/uri"},
        config_files={"/etc/settings": "settings"},
        optional=["gdal"],
        volumes={"/data": "imagery"},
        scratch=Scratch(size="50Gi"),
        annotations={"example.org/cost": "lab"},
    )

    compiled = written(tmp_path, {"cpu": 1, "memory": 1}, cluster)

    for name in ("exec-plugged-number", "exec-report"):
        asked = overlay(compiled, name)
        keys = asked["secretAsEnv"][0]["keyToEnv"]
        assert {one["secretKey"]: one["envVar"] for one in keys} == {"id": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY"}
        assert asked["secretAsVolume"][0]["mountPath"] == "/etc/gdal"
        assert asked["secretAsVolume"][0]["optional"] is True
        assert asked["configMapAsEnv"][0]["configMapName"] == "mlflow"
        assert asked["configMapAsVolume"][0]["mountPath"] == "/etc/settings"
        assert asked["pvcMount"][0]["mountPath"] == "/data"
        assert asked["emptyDirMounts"][0]["mountPath"] == "/scratch"
        assert asked["imagePullSecret"][0]["secretName"] == "registry"
        assert asked["imagePullPolicy"] == "Always"
        assert asked["podMetadata"]["annotations"] == {"example.org/cost": "lab"}
    env = {one["name"]: one["value"] for one in container(compiled)["env"]}
    assert env["AWS_ENDPOINT_URL"] == "http://store:9000"
    assert env["GEOHYDRA_CACHE"] == "/scratch"


@pytest.mark.parametrize(
    ("scratch", "key"),
    [(Scratch(claim="fast"), "pvcMount"), (Scratch(size="9Gi", storage_class="ssd"), "genericEphemeralVolume")],
)
def test_scratch_may_be_a_claim_or_a_volume_for_the_pod(steps: Path, tmp_path: Path, scratch: Scratch, key: str) -> None:
    assert overlay(written(tmp_path, {"cpu": 1, "memory": 1}, Cluster(scratch=scratch)))[key][0]["mountPath"] == "/scratch"


def test_a_tpu_is_an_accelerator(steps: Path, tmp_path: Path) -> None:
    compiled = written(tmp_path, {"cpu": 1, "memory": 1, "tpu": 4})

    assert container(compiled)["resources"]["accelerator"]["resourceType"] == "google.com/tpu"


def test_tpus_are_asked_for_on_nodes_that_have_them(steps: Path, tmp_path: Path) -> None:
    hardware = compose(["hardware=tpu"]).config["hardware"]

    asked = overlay(written(tmp_path, dict(hardware["gpu"])))

    assert asked["nodeSelector"]["labels"] == hardware["gpu"]["node_selector"]
    assert {"cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"} <= set(asked["nodeSelector"]["labels"])
    assert asked["tolerations"][0]["key"] == "google.com/tpu"


def test_every_shipped_profile_is_one_and_compiles(hardware_option: str, steps: Path, tmp_path: Path) -> None:
    hardware = compose([f"hardware={hardware_option}"]).config["hardware"]

    assert {name: read_role(hardware, name, where="").cpu for name in ("cpu", "gpu", "io")}
    for name in ("cpu", "gpu", "io"):
        written(tmp_path, dict(hardware[name]))


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"secret_env": {"TOKEN": "not a name"}}, "cluster.secret_env"),
        ({"secret_env": {"TOKEN": "keys/token"}, "env": {"TOKEN": "x"}}, "TOKEN"),
        ({"env": {"GEOHYDRA_RESOURCES": "{}"}}, "cluster.env.GEOHYDRA_RESOURCES"),
        ({"volumes": {"/data": "a"}, "secret_files": {"/data": "b"}}, "cluster"),
        ({"scratch": {"claim": "a", "size": "1Gi"}}, "cluster.scratch"),
        ({"scratch": {"storage_class": "ssd"}}, "cluster.scratch.size"),
        ({"scratch": {"sise": "1Gi"}}, "cluster.scratch.sise"),
        ({"labels": {"no key!": "x"}}, "cluster.labels"),
        ({"labels": {"key": "no value!"}}, "cluster.labels"),
        ({"pull_policy": "Sometimes"}, "cluster.pull_policy"),
    ],
)
def test_a_cluster_that_contradicts_itself_is_refused_with_its_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises((ConfigError, Problems)) as caught:
        build({"_target_": "geohydra.pipeline.cluster.Cluster", **given}, where="cluster")

    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("given", "place"),
    [({"shm": "8GB"}, "shm"), ({"timeout": "6 hours"}, "timeout"), ({"gpu": 1, "tpu": 1}, "tpu"), ({"tolerations": [{"kee": "a"}]}, "kee")],
)
def test_a_role_that_cannot_be_is_refused_with_its_place(given: dict[str, Any], place: str) -> None:
    with pytest.raises((ConfigError, Problems), match=place):
        read_role({"gpu": {"cpu": 1, "memory": 1, **given}}, "gpu", where="pipeline.steps.train.role")
