"""The average of a network's weights follows it, and is what is scored and kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from geohydra.training.average import Average
from geohydra.training.checkpoint import load_tree
from geohydra.training.loop import fit
from geohydra.training.settings import Training


def test_it_is_the_moving_average_by_its_definition():
    network, average = nn.Linear(3, 2), None
    average = Average(network, 0.3)
    expected = network.weight.detach().clone()
    for step in range(20):
        nn.init.normal_(network.weight)
        average.follow(network)
        stays = min(0.3, (1 + step) / (10 + step))
        expected = stays * expected + (1 - stays) * network.weight.detach()

    assert torch.allclose(average.network.weight, expected, atol=1e-6)


def test_running_statistics_are_averaged_and_counts_copied():
    network = nn.BatchNorm2d(2)
    average = Average(network, 0.999)
    network(torch.randn(4, 2, 3, 3) + 5)
    average.follow(network)

    assert torch.allclose(average.network.running_mean, 0.9 * network.running_mean, atol=1e-6)
    assert int(average.network.num_batches_tracked) == 1


def test_it_is_never_trained_itself():
    assert not any(value.requires_grad for value in Average(nn.Linear(1, 1), 0.9).parameters())


def test_the_average_is_scored_and_kept(chips, make_work, make_network, make_recipe):
    network, val = make_network(), chips(8, seed=1)
    recipe = make_recipe(Training(epochs=3, lr=0.05, ema=0.9))

    trained = fit(network, recipe, chips(16), val, work=make_work())

    scores = recipe.task.scores()
    with torch.inference_mode():
        for batch in val:
            scores.update(network.eval()(batch["image"]), batch)
    assert scores.compute()["iou"] == pytest.approx(trained.history[trained.best]["val/iou"])


def test_averaging_does_not_touch_what_is_trained(chips, make_work, make_network, make_recipe):
    losses = []
    for name, ema in (("plain", None), ("averaged", 0.99)):
        settings = Training(epochs=3, lr=0.02, ema=ema)
        trained = fit(make_network(), make_recipe(settings), chips(16), chips(8, seed=1), work=make_work(name))
        losses.append([values["train/loss"] for values in trained.history])

    assert losses[0] == losses[1]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_follows_each_step_of_the_optimizer(chips, make_work, make_network, make_recipe, accumulate):
    settings = Training(epochs=2, ema=0.9, accumulate=accumulate)
    work = make_work()
    fit(make_network(), make_recipe(settings), chips(16), chips(8, seed=1), work=work)

    state = load_tree(work.state / "last.safetensors")
    assert int(state["state_dict"]["average.steps"]) == state["global_step"] == 2 * -(-4 // accumulate)


def test_the_best_epochs_are_kept_and_no_others(chips, make_work, make_network, make_recipe):
    network, work = make_network(), make_work()
    trained = fit(network, make_recipe(Training(epochs=6, lr=0.05, keep_best=3)), chips(16), chips(8, seed=1), work=work)

    best = sorted(range(6), key=lambda epoch: -trained.history[epoch]["val/iou"])[:3]
    assert {path.name for path in work.state.glob("epoch-*")} == {f"epoch-{epoch + 1}.safetensors" for epoch in best}
    assert len(trained.others) == 2
    scores = make_recipe().task.scores()
    other = copy.deepcopy(network).eval()
    other.load_state_dict(trained.others[1])
    with torch.inference_mode():
        for batch in chips(8, seed=1):
            scores.update(other(batch["image"]), batch)
    assert scores.compute()["iou"] == pytest.approx(trained.history[best[2]]["val/iou"])
