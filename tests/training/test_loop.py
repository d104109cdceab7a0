"""Training learns, stops, keeps the best epoch, and survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from geohydra.errors import ConfigError, StepError
from geohydra.report import read_curves
from geohydra.training.loop import fit
from geohydra.training.optimizers import AdamW
from geohydra.training.schedules import rate
from geohydra.training.settings import Training
from geohydra.work import Work


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def test_a_network_learns(chips, make_work, make_network, make_recipe):
    trained = fit(make_network(), make_recipe(Training(epochs=6, lr=0.02)), chips(32), chips(8, seed=1), work=make_work())

    assert trained.history[-1]["val/accuracy"] > 0.8
    assert trained.history[-1]["train/loss"] < trained.history[0]["train/loss"]


def test_the_same_seed_gives_the_same_weights(chips, make_work, make_network, make_recipe):
    one, other = make_network(), make_network()

    for name, network in (("one", one), ("other", other)):
        fit(network, make_recipe(), chips(16), chips(8, seed=1), work=make_work(name))

    assert torch.equal(weights(one), weights(other))


def test_another_seed_gives_other_weights(chips, make_work, make_network, make_recipe):
    one, other = make_network(), make_network()
    recipe = make_recipe()
    fit(one, recipe, chips(16), chips(8, seed=1), work=make_work("one"))

    object.__setattr__(recipe, "seed", 1)
    fit(other, recipe, chips(16), chips(8, seed=1), work=make_work("other"))

    assert not torch.equal(weights(one), weights(other))


def test_curves_hold_every_score_of_every_epoch(chips, make_work, make_network, make_recipe):
    work = make_work()

    fit(make_network(), make_recipe(), chips(16), chips(8, seed=1), work=work)

    lines = read_curves(work.report.folder)
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    names = {"train/loss", "val/loss", "val/iou", "val/f1", "val/accuracy", "val/iou/land", "val/iou/water", "lr", "seconds"}
    assert set(lines[0]["metrics"]) == names


def test_the_network_ends_with_the_weights_of_its_best_epoch(chips, make_work, make_network, make_recipe):
    network, val = make_network(), chips(8, seed=1)
    recipe = make_recipe(Training(epochs=5, lr=0.3, schedule="constant", gradient_clip=None))

    trained = fit(network, recipe, chips(16), val, work=make_work())

    scores = recipe.task.scores()
    with torch.inference_mode():
        for batch in val:
            scores.update(network.eval()(batch["image"]), batch)
    assert scores.compute()["iou"] == pytest.approx(max(values["val/iou"] for values in trained.history))
    assert trained.history[trained.best]["val/iou"] == max(values["val/iou"] for values in trained.history)


def test_training_stops_when_nothing_gets_better(chips, make_work, make_network, make_recipe):
    settings = Training(epochs=50, lr=1e-9, patience=2, schedule="constant")

    trained = fit(make_network(), make_recipe(settings), chips(8), chips(8, seed=1), work=make_work())

    assert len(trained.history) == trained.best + 3 < 50


def test_a_finished_training_is_not_trained_again(chips, make_work, make_network, make_recipe):
    settings = Training(epochs=50, lr=1e-9, patience=2, schedule="constant")
    first, second = make_network(), make_network(1)
    done = fit(first, make_recipe(settings), chips(8), chips(8, seed=1), work=make_work())

    again = fit(second, make_recipe(settings), chips(8), chips(8, seed=1), work=make_work())

    assert again.history == done.history
    assert torch.equal(weights(first), weights(second))


def test_the_least_loss_can_choose_the_best_epoch(chips, make_work, make_network, make_recipe):
    trained = fit(make_network(), make_recipe(Training(epochs=4, monitor="loss")), chips(8), chips(8, seed=1), work=make_work())

    losses = [values["val/loss"] for values in trained.history]
    assert losses[trained.best] == min(losses)


def test_a_monitor_that_is_no_score_is_refused(chips, make_work, make_network, make_recipe):
    with pytest.raises(ConfigError, match="there is no score 'kappa'; there are loss, iou"):
        fit(make_network(), make_recipe(Training(epochs=2, monitor="kappa")), chips(8), chips(8), work=make_work())


def test_a_loss_that_is_not_finite_stops_training_with_a_remedy(chips, make_work, make_network, make_recipe):
    train = chips(8)
    train.image[3] = float("inf")

    with pytest.raises(StepError, match=r"no finite number any more in epoch 1; a smaller train.lr"):
        fit(make_network(), make_recipe(), train, chips(8), work=make_work())


def test_an_error_of_the_loader_is_told_as_it_is(chips, make_work, make_network, make_recipe):
    train = chips(8)
    del train.mask

    with pytest.raises(AttributeError, match="mask"):
        fit(make_network(), make_recipe(), train, chips(8), work=make_work())


def test_batches_can_be_accumulated(chips, make_work, make_network, make_recipe):
    trained = fit(make_network(), make_recipe(Training(epochs=3, accumulate=3)), chips(20), chips(8, seed=1), work=make_work())

    assert trained.history[-1]["lr"] < trained.history[0]["lr"]


class Watched(AdamW):
    """Keeps the gradients and rates of every step."""

    def __init__(self, **settings: float) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.norms: list[float] = []
        self.rates: list[float] = []
        self.gradients: list[torch.Tensor] = []

    def build(self, network: nn.Module, *, fused: bool = True) -> Any:
        made = super().build(network, fused=fused)
        made.register_step_post_hook(self._look)
        return made

    def _look(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        values = [value.grad.flatten() for group in optimizer.param_groups for value in group["params"] if value.grad is not None]
        self.gradients.append(torch.cat(values).clone())
        self.norms.append(float(self.gradients[-1].norm()))
        self.rates.append(optimizer.param_groups[0]["lr"])


def watched(settings: Training, chips: Any, make_work: Any, make_recipe: Any, *, name: str, batch_size: int = 4) -> Watched:
    recipe, optimizer = make_recipe(settings), Watched(lr=settings.lr)
    object.__setattr__(recipe, "optimizer", optimizer)
    torch.manual_seed(0)
    network = nn.Conv2d(2, 2, 1)
    fit(network, recipe, chips(16, batch_size=batch_size, shuffle=False), chips(8, seed=1), work=make_work(name))
    return optimizer


def test_accumulated_batches_have_the_gradient_of_one_large_batch(chips, make_work, make_recipe):
    small, large = (
        watched(Training(epochs=1, accumulate=parts, gradient_clip=None), chips, make_work, make_recipe, name=f"{parts}", batch_size=size)
        for parts, size in ((4, 4), (1, 16))
    )

    assert len(small.gradients) == len(large.gradients) == 1
    assert torch.allclose(small.gradients[0], large.gradients[0], atol=1e-6)


def test_gradients_are_clipped_to_the_norm_that_was_asked_for(chips, make_work, make_recipe):
    free = watched(Training(epochs=1, gradient_clip=None), chips, make_work, make_recipe, name="free")
    clipped = watched(Training(epochs=1, gradient_clip=0.01), chips, make_work, make_recipe, name="clipped")

    assert max(free.norms) > 0.05
    assert max(clipped.norms) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
def test_every_step_has_the_rate_of_its_schedule(schedule, chips, make_work, make_recipe):
    settings = Training(epochs=3, lr=0.1, schedule=schedule, warmup=0.2)
    seen = watched(settings, chips, make_work, make_recipe, name="work").rates

    assert seen == pytest.approx([0.1 * rate(schedule, step / 12, warmup=0.2) for step in range(12)])


def test_a_plateau_divides_the_rate_by_ten(chips, make_work, make_recipe):
    settings = Training(epochs=6, lr=1e-8, schedule="plateau", patience=4, warmup=0.0)
    seen = watched(settings, chips, make_work, make_recipe, name="work").rates

    assert seen[0] == pytest.approx(1e-8)
    assert seen[-1] == pytest.approx(1e-9)


def test_a_batch_without_any_label_does_no_harm(chips, make_work, make_network, make_recipe):
    train = chips(8)
    train.mask[:] = 255

    trained = fit(make_network(), make_recipe(Training(epochs=1)), train, chips(8), work=make_work())

    assert trained.history[0]["train/loss"] == 0


def test_training_in_mixed_precision_learns_as_well(chips, make_work, make_network, make_recipe):
    settings = Training(epochs=4, lr=0.02, precision="bfloat16")

    trained = fit(make_network(), make_recipe(settings), chips(32), chips(8, seed=1), work=make_work())

    assert trained.history[-1]["val/accuracy"] > 0.7


class Killed:
    """Kills its own process in the middle of an epoch, as kill -9 would."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def __call__(self, event: Mapping[str, Any]) -> None:
        if str(event.get("text", "")).startswith(f"epoch {self.left + 1} of") and event.get("progress", 0) % 4 == 2:
            os.kill(os.getpid(), signal.SIGKILL)


SCRIPT = """
import importlib.util, pathlib, sys
def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
kit, this = load("kit", sys.argv[1]), load("this", sys.argv[2])
folder = pathlib.Path(sys.argv[3])
work = this.Work({}, folder, kit.Resources(cpu=1, device="cpu"), emit=this.Killed(int(sys.argv[4])))
this.fit(kit.network(), kit.recipe(this.SETTINGS[sys.argv[5]]), kit.Chips(16), kit.Chips(8, seed=1), work=work)
"""
SETTINGS = {
    "cosine": Training(epochs=4, lr=0.01, gradient_clip=0.5),
    "plateau": Training(epochs=6, lr=0.05, schedule="plateau", patience=4, accumulate=3),
    "average": Training(epochs=4, lr=0.05, ema=0.8, keep_best=2, accumulate=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_killed_half_way_ends_with_the_same_weights(
    name, chips, make_work: Callable[..., Work], make_network, make_recipe, tmp_path: Path
):
    straight, resumed = make_network(), make_network()
    whole = fit(straight, make_recipe(SETTINGS[name]), chips(16), chips(8, seed=1), work=make_work("straight"))
    (tmp_path / "killed").mkdir()
    kit = Path(__file__).with_name("conftest.py")

    killed = subprocess.run([sys.executable, "-c", SCRIPT, kit, __file__, tmp_path / "killed", "2", name], check=False)
    work = make_work("killed")
    lines = fit(resumed, make_recipe(SETTINGS[name]), chips(16), chips(8, seed=1), work=work)

    assert killed.returncode == -signal.SIGKILL
    assert torch.equal(weights(straight), weights(resumed))
    assert [line["step"] for line in read_curves(work.report.folder)] == list(range(len(whole.history)))
    assert len(whole.others) == len(lines.others) == SETTINGS[name].keep_best - 1
    for ours, theirs in zip(whole.others, lines.others, strict=True):
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    timeless = [{**values, "seconds": 0} for values in lines.history]
    assert timeless == [{**values, "seconds": 0} for values in whole.history]
