"""A small network for small chips."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from geohydra.build import problems
from geohydra.models.folding import fold
from geohydra.models.small_classifier import SmallClassifier
from geohydra.models.small_classifier_network import middle

POOLS = ["mean", "centre", "both"]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("side", [8, 16, 20])
def test_it_answers_once_for_a_chip_of_any_bands_and_alike_after_folding(pool, side):
    torch.manual_seed(0)
    network = SmallClassifier(pool=pool, widths=[8, 16, 24]).build(channels=5, classes=4).eval()
    chips = torch.randn(3, 5, side, side)

    with torch.no_grad():
        expected, folded = network(chips), fold(network, chips)(chips)

    assert expected.shape == (3, 4)
    assert torch.allclose(expected, folded, atol=1e-3)


def test_what_is_far_from_the_middle_counts_only_where_all_is_pooled():
    torch.manual_seed(0)
    chips = torch.zeros(1, 3, 32, 32)
    changed = chips.clone()
    changed[..., :2, :2] = 9.0

    def differs(pool):
        network = SmallClassifier(pool=pool, widths=[8]).build(channels=3, classes=2).eval()
        return not torch.equal(network(chips), network(changed))

    assert [differs(pool) for pool in POOLS] == [True, False, True]


@pytest.mark.parametrize(("side", "count"), [(1, 1), (2, 2), (5, 1), (7, 1), (8, 2), (16, 4), (18, 4)])
def test_the_middle_is_as_far_from_either_side(side, count):
    found = middle(torch.arange(float(side)).expand(1, 1, side, side))

    assert found.shape == (1, 1, count, count)
    assert found.mean() == (side - 1) / 2


def test_the_stride_tells_which_chips_fit():
    assert [SmallClassifier(widths=[4] * levels).stride for levels in (1, 2, 4)] == [1, 2, 8]


def test_weights_of_another_number_of_bands_begin_a_training(tmp_path):
    torch.manual_seed(0)
    first = SmallClassifier().build(channels=3, classes=2)
    save_file(first.state_dict(), tmp_path / "start.safetensors")

    found = SmallClassifier(weights=str(tmp_path / "start.safetensors")).build(channels=5, classes=4)

    assert torch.equal(found.encoder[1][4].weight, first.encoder[1][4].weight)
    assert found.head[1].weight.shape[0] == 4


def test_a_network_without_filters_is_a_config_error():
    found = problems({"_target_": "geohydra.models.small_classifier.SmallClassifier", "widths": [32, 0]}, where="model")

    assert "widths" in str(found[0])
