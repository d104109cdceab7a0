"""What a pod's own words mean for the one who waits: why it does not start, why it ended, what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geohydra.pipeline.runners.kfp_graph import TaskState
from geohydra.plan import PlannedStep

_PULL = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_GONE = (
    "Evicted",
    "Preempted",
    "Preempting",
    "NodeLost",
    "NodeShutdown",
    "Shutdown",
    "Terminated",
    "TerminationByKubelet",
    "Node-pressure",
)
_LASTING = ("CreateContainerConfigError", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pod waits or ended. `again`: another attempt may do better. `lasting`: it will not start by waiting."""

    problem: str
    hint: str = ""
    again: bool = False
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.problem}; {self.hint}" if self.hint else self.problem


def waiting_reason(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], message: str, step: PlannedStep) -> Reason | None:
    """Why a pod has not started; None where nothing is said of it."""
    status = pod.get("status") or {}
    for state in _containers(status, "waiting"):
        if reason := state.get("reason"):
            if reason in _PULL:
                return _image(state, reason)
            if reason in _LASTING:
                hint = "create the Secret or ConfigMap in the namespace of the run, or name it in cluster.optional"
                return Reason(f"its container cannot be set up ({_short(state.get('message'))})", hint, lasting=True)
    texts = [str(one.get("message", "")) for one in status.get("conditions") or () if one.get("status") == "False"]
    texts += [message, *(str(event.get("message", "")) for event in reversed(events) if event.get("type") != "Normal")]
    return next((reason for text in texts if text and (reason := _place(text, step))), None)


def ending_reason(pod: Mapping[str, Any], message: str, step: PlannedStep, memory: float | None) -> Reason | None:
    """Why a pod failed, where it was not the step itself that ended with an error. `memory` is what its role has, in GB."""
    status = pod.get("status") or {}
    ended = list(_containers(status, "terminated"))
    known = [str(state.get("reason", "")) for state in ended] + [str(status.get("reason", ""))]
    text = f"{message} {status.get('message') or ''}"
    if any(name in _PULL for name in known) or any(f"{name}" in text for name in _PULL):
        return _image({"message": text}, next((name for name in _PULL if name in text or name in known), ""))
    if "OOMKilled" in known or "OOMKilled" in text or any(state.get("exitCode") == 137 for state in ended):
        had = f" (it has {memory:g} GB)" if memory else ""
        hint = f"raise hardware.{step.role}.memory{had}, or use smaller batches or windows"
        return Reason("it ran out of memory and was killed (OOMKilled)", hint)
    if any(name in _GONE for name in known) or re.search(
        r"\b(evicted|preempt\w+|node (was )?(lost|shut\w* down)|pod deleted)\b", text, re.I
    ):
        hint = f"give the role another attempt with ++hardware.{step.role}.retries=2; what is done stays in the store"
        return Reason(f"its pod was evicted ({_short(status.get('message') or message)})", hint, again=True)
    if "DeadlineExceeded" in known or "exceeded its deadline" in text or "activeDeadlineSeconds" in text:
        return Reason("it took longer than its role may", f"raise hardware.{step.role}.timeout; a step goes on where its scratch is kept")
    return _place(text, step)


def exit_code(pod: Mapping[str, Any]) -> int | None:
    """With which the main container ended."""
    codes = [state.get("exitCode") for state in _containers(pod.get("status") or {}, "terminated")]
    return next((int(code) for code in codes if code), None)


def _place(text: str, step: PlannedStep) -> Reason | None:
    """What a scheduler, or a quota, says."""
    if re.search(r"exceeded quota|quota", text, re.IGNORECASE):
        hint = f"wait until other runs end, ask for less with hardware.{step.role}.cpu and .memory, or have the quota raised"
        return Reason(f"the namespace has used up its quota ({_short(text)})", hint)
    if re.search(r"Insufficient|nodes are available|didn't match|untolerated taint|unschedulable", text, re.IGNORECASE):
        hint = f"wait for a node, or ask for less of hardware.{step.role} (cpu, memory, gpu, node_selector, tolerations)"
        return Reason(f"no node has room for it ({_short(text)})", hint)
    if re.search(r"forbidden", text, re.IGNORECASE):
        return Reason(f"the cluster forbids its pod ({_short(text)})", "set cluster.service_account to one that may run pipelines here")
    if re.search(r"FailedMount|MountVolume|persistentvolumeclaim .*not found", text, re.IGNORECASE):
        return Reason(f"a volume cannot be mounted ({_short(text)})", "see cluster.volumes, cluster.secret_files and cluster.scratch.claim")
    return None


def _image(state: Mapping[str, Any], reason: str) -> Reason:
    hint = "set cluster.image to one that the cluster can pull, and cluster.pull_secrets to what opens its registry"
    return Reason(f"its image cannot be pulled ({reason}: {_short(state.get('message'))})", hint, lasting=True)


def _containers(status: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """The states of that kind of all containers, the main one first; the last state too where a container was restarted."""
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    for one in sorted(every, key=lambda container: container.get("name") != "main"):
        for key in ("state", "lastState"):
            if state := (one.get(key) or {}).get(kind):
                yield state


def _short(text: Any) -> str:
    words = " ".join(str(text or "no more is said").split())
    return words if len(words) <= 200 else f"{words[:197]}..."


def pod_names(task: TaskState) -> list[str]:
    """Names that the pod of a task may have: its node's id, or as newer engines build it from the template's name."""
    names: list[str] = []
    for node in reversed(task.pods[-1:]):
        head, _, tail = node.id.rpartition("-")
        made = [f"{head}-{template}-{tail}" for template in ("system-container-impl", "retry-system-container-impl")] if head else []
        names += [name for name in (node.pod, node.id, *made) if name]
    return list(dict.fromkeys(names))
