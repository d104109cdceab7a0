"""What a task of a pipeline asks a cluster for: what its role gets, and what every pod finds around it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from geohydra.identity import canonical
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.hardware import Role, seconds_of


def equip(task: Any, role: Role, cluster: Cluster, *, like: Any = None) -> None:
    """Ask for all of it; threads and device reach the step through its environment.

    `like` is a task that was equipped in the same way before: kfp looks through the whole stack for each single setting.
    """
    if like is None or like is task:
        _ask(task, role)
        _surround(task, role, cluster)
    else:
        task.container_spec.resources = deepcopy(like.container_spec.resources)
        task.container_spec.env = dict(like.container_spec.env)
    _retry(task, role)
    task.set_caching_options(True)
    _overlay(task, role, cluster)


def _surround(task: Any, role: Role, cluster: Cluster) -> None:
    """The environment of a pod."""
    resources = {"cpu": role.cpu, "memory_gb": float(role.memory), "device": role.device, "workers": role.workers}
    task.set_env_variable("GEOHYDRA_RESOURCES", canonical(resources))
    for key, value in cluster.env.items():
        task.set_env_variable(key, value)
    if cluster.scratch.size or cluster.scratch.claim:
        task.set_env_variable("GEOHYDRA_CACHE", cluster.scratch.path)


def _ask(task: Any, role: Role) -> None:
    """Resources: what every engine understands."""
    task.set_cpu_limit(str(role.cpu)).set_cpu_request(f"{role.cpu_request or role.cpu:g}")
    task.set_memory_limit(_bytes(role.memory)).set_memory_request(_bytes(role.memory_request or role.memory))
    if role.gpu:
        task.set_accelerator_type(role.gpu_type).set_accelerator_limit(role.gpu)
    elif role.tpu:
        task.set_accelerator_type(role.tpu_type).set_accelerator_limit(role.tpu)


def _retry(task: Any, role: Role) -> None:
    """How often a step is tried again, which every engine understands too."""
    if role.retries:
        wait = role.backoff
        task.set_retry(
            role.retries,
            backoff_duration=f"{seconds_of(wait.first)}s",
            backoff_factor=wait.factor,
            backoff_max_duration=f"{seconds_of(wait.longest)}s",
        )


def _bytes(gigabytes: float) -> str:
    """As Kubernetes writes it, and without a fraction, which kfp refuses."""
    return f"{gigabytes:.0f}G" if float(gigabytes).is_integer() else f"{max(1, round(gigabytes * 1000))}M"


def _overlay(task: Any, role: Role, cluster: Cluster) -> None:
    """What only Kubernetes understands; nothing where nothing is asked for, so that there is no second document."""
    from kfp import kubernetes

    for name, keys in cluster.secret_env.items():
        kubernetes.use_secret_as_env(task, name, keys, optional=name in cluster.optional)
    for path, name in cluster.secret_files.items():
        kubernetes.use_secret_as_volume(task, name, path, optional=name in cluster.optional)
    for name, keys in cluster.config_env.items():
        kubernetes.use_config_map_as_env(task, name, keys, optional=name in cluster.optional)
    for path, name in cluster.config_files.items():
        kubernetes.use_config_map_as_volume(task, name, path, optional=name in cluster.optional)
    for path, name in cluster.volumes.items():
        kubernetes.mount_pvc(task, name, path)
    _scratch(task, cluster)
    if cluster.pull_secrets:
        kubernetes.set_image_pull_secrets(task, cluster.pull_secrets)
    if cluster.pull_policy:
        kubernetes.set_image_pull_policy(task, cluster.pull_policy)
    for key, value in (cluster.labels | role.labels).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in (cluster.annotations | role.annotations).items():
        kubernetes.add_pod_annotation(task, key, value)
    _node(task, role)


def _node(task: Any, role: Role) -> None:
    from kfp import kubernetes

    for key, value in role.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for one in role.tolerations:
        kubernetes.add_toleration(task, one.key, one.operator, one.value, one.effect, one.seconds)
    if role.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", "Memory", role.shm)  # noqa: S108
    if role.timeout:
        kubernetes.set_timeout(task, seconds_of(role.timeout))


def _scratch(task: Any, cluster: Cluster) -> None:
    from kfp import kubernetes

    scratch = cluster.scratch
    if scratch.claim:
        kubernetes.mount_pvc(task, scratch.claim, scratch.path)
    elif scratch.storage_class:
        kubernetes.add_ephemeral_volume(task, "scratch", scratch.path, ["ReadWriteOnce"], scratch.size, scratch.storage_class)
    elif scratch.size:
        kubernetes.empty_dir_mount(task, "scratch", scratch.path, None, scratch.size)
