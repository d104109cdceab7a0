"""Batches are read ahead, in their order, and no thread is left."""

from __future__ import annotations

import threading

import pytest
import torch

from geohydra.training.prefetch import Prefetched


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "chips"]


def test_batches_come_in_their_order_with_bands_last_in_memory(chips):
    given = list(chips(10, shuffle=False))

    found = list(Prefetched(chips(10, shuffle=False)))

    assert [torch.equal(one["image"], other["image"]) for one, other in zip(given, found, strict=True)] == [True] * 3
    assert found[0]["image"].is_contiguous(memory_format=torch.channels_last)


def test_the_epoch_reaches_the_loader(chips):
    loader = chips(10)
    prefetched = Prefetched(loader)

    prefetched.batch_sampler.set_epoch(5)

    assert loader.epoch == 5
    assert len(prefetched) == len(loader)


def test_a_reader_that_is_left_early_ends(chips):
    for _ in Prefetched(chips(64)):
        break

    assert readers() == []


def test_an_error_of_the_reader_reaches_whoever_waits(chips):
    broken = chips(8)
    broken.valid = None

    with pytest.raises(TypeError):
        list(Prefetched(broken))

    assert readers() == []
