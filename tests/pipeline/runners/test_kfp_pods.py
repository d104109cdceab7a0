"""What a pod's own words mean."""

from __future__ import annotations

from typing import Any

import pytest

from geohydra.pipeline.runners.kfp_pods import ending_reason, exit_code, waiting_reason
from geohydra.plan import PlannedStep

STEP = PlannedStep("train", "train", {}, {}, "gpu", "f", ("job",), "train")


def ended(**state: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": state}}]}}


def waiting(**state: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "wait", "state": {}}, {"name": "main", "state": {"waiting": state}}]}}


def test_a_step_that_ended_with_an_error_of_its_own_has_no_other_reason() -> None:
    assert ending_reason(ended(reason="Error", exitCode=3), "Error (exit code 3)", STEP, 16.0) is None
    assert exit_code(ended(reason="Error", exitCode=3)) == 3


def test_too_little_memory_names_the_setting_and_what_it_is() -> None:
    reason = ending_reason(ended(reason="OOMKilled", exitCode=137), "", STEP, 16.0)

    assert str(reason).startswith("it ran out of memory and was killed (OOMKilled); raise hardware.gpu.memory (it has 16 GB)")
    assert reason is not None
    assert not reason.again


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ({"status": {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}}, ""),
        ({"status": {"reason": "Preempted"}}, ""),
        ({}, "pod deleted during operation"),
        ({}, "Pod was evicted by the node"),
        ({}, "node was lost"),
    ],
)
def test_a_pod_that_went_away_may_come_again(pod: dict[str, Any], message: str) -> None:
    reason = ending_reason(pod, message, STEP, None)

    assert reason is not None
    assert reason.again
    assert "hardware.gpu.retries" in reason.hint


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_not_waited_for(reason: str) -> None:
    found = waiting_reason(waiting(reason=reason, message="no such manifest"), [], "", STEP)

    assert found is not None
    assert found.lasting
    assert f"({reason}: no such manifest)" in found.problem


def test_a_secret_that_is_missing_is_told() -> None:
    found = waiting_reason(waiting(reason="CreateContainerConfigError", message='secret "keys" not found'), [], "", STEP)

    assert found is not None
    assert 'secret "keys" not found' in found.problem
    assert "cluster.optional" in found.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0/4 nodes are available: 4 Insufficient memory.", "no node has room"),
        ("0/4 nodes are available: 4 node(s) had untolerated taint {gpu: true}.", "tolerations"),
        ("exceeded quota: compute, requested: limits.memory=16G", "quota"),
        ('persistentvolumeclaim "imagery" not found', "cluster.volumes"),
        ('pods is forbidden: User "system:serviceaccount:x" cannot create', "cluster.service_account"),
    ],
)
@pytest.mark.parametrize("place", ["condition", "event", "message"])
def test_what_a_scheduler_says_is_found_wherever_it_stands(text: str, words: str, place: str) -> None:
    pod = {"status": {"conditions": [{"status": "False", "message": text}]}} if place == "condition" else {}
    events = [{"type": "Warning", "message": text}, {"type": "Normal", "message": "Pulling"}] if place == "event" else []

    assert words in str(waiting_reason(pod, events, text if place == "message" else "", STEP))


def test_a_pod_that_just_starts_has_no_reason() -> None:
    assert waiting_reason(waiting(reason="ContainerCreating"), [{"type": "Normal", "message": "Pulling image"}], "", STEP) is None
    assert waiting_reason({}, [], "", STEP) is None
