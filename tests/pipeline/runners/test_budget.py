"""Tokens: what is handed out never exceeds what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.pipeline.runners.budget import Budget, Grant, Machine, this_machine

roles = st.fixed_dictionaries({"cpu": st.integers(1, 20), "memory": st.floats(0.1, 40), "gpu": st.integers(0, 2)})
MACHINE = Machine(cpu=8, memory=16.0, gpus=("0", "1"))


@given(st.dictionaries(st.sampled_from("abc"), roles, min_size=1), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_grants_fit_the_machine_and_no_gpu_is_given_twice(hardware: dict[str, dict[str, float]], moves: list[tuple[str, bool]]) -> None:
    budget = Budget(MACHINE, hardware)
    held: list[Grant] = []
    for role, take in moves:
        if not take and held:
            budget.give_back(held.pop(0))
        elif take and role in hardware and (grant := budget.take(role)):
            held.append(grant)
        gpus = [gpu for grant in held for gpu in grant.gpus]
        assert sum(grant.cpu for grant in held) <= 8
        assert sum(grant.memory for grant in held) <= 16.0 + 1e-6
        assert len(gpus) == len(set(gpus))


@given(roles)
def test_a_free_machine_always_takes_one_step(role: dict[str, float]) -> None:
    budget = Budget(MACHINE, {"a": role})

    for _ in range(3):
        grant = budget.take("a")
        assert grant is not None
        budget.give_back(grant)


def test_a_step_is_told_what_it_may_use() -> None:
    hardware = {"gpu": {"cpu": 64, "memory": 4, "gpu": 1, "device": "cuda", "workers": 3}}

    grant = Budget(MACHINE, hardware).take("gpu")

    assert grant is not None
    assert grant.gpus == ("0",)
    resources = grant.resources
    assert (resources.cpu, resources.memory_gb, resources.device, resources.workers) == (8, 4.0, "cuda", 3)


def test_gpus_are_those_that_the_environment_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert this_machine().gpus == ("3", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine().gpus == ()


def test_what_the_config_says_counts_instead_of_what_the_machine_has() -> None:
    assert this_machine(cpu=3, memory=5.5, gpu=2) == Machine(3, 5.5, ("0", "1"))


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()

    assert machine.cpu >= 1
    assert machine.memory > 0.1
