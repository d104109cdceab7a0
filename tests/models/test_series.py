"""Networks of series: what must not matter to them, whatever they are."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.build import build
from geohydra.errors import ConfigError
from geohydra.models.attention import Positions, day_of_year
from geohydra.models.pixel_set_network import PixelSet as PixelSetNetwork
from geohydra.models.series import Ltae, PixelSet, SharedEncoder, TempCnn, Utae
from geohydra.models.series_network import TempCnn as TempCnnBody
from geohydra.raster.planes import planes

NETWORKS = ("ltae", "tempcnn", "utae", "shared_encoder", "pixel_set")
CHANNELS = 3


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest, repository: Path) -> torch.nn.Module:
    """A network as it is shipped, with chance weights."""
    torch.manual_seed(0)
    node = yaml.safe_load((repository / "conf" / "model" / f"{request.param}.yaml").read_text())
    model = build(node, where="model")
    return model.build(channels=CHANNELS, classes=4).eval()


def series(seed: int, *, dates: int = 6, size: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two series as a dataset gives them: 0 where not valid, one date wholly cloudy, the second series shorter."""
    draw = torch.Generator().manual_seed(seed)
    valid = torch.rand((2, dates, size, size), generator=draw) > 0.3
    valid[0, 1] = False
    valid[1, -2:] = False
    images = torch.randn((2, dates, CHANNELS, size, size), generator=draw) * valid[:, :, None]
    days = torch.randint(18_000, 19_500, (2, dates), generator=draw, dtype=torch.int32)
    return images, valid, days


def answers(network: torch.nn.Module, *given: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network(*given)
    return found


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-4, rtol=1e-3)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_dates_does_not_matter(network: torch.nn.Module, seed: int) -> None:
    images, valid, days = series(seed)
    order = torch.randperm(days.shape[1], generator=torch.Generator().manual_seed(seed))

    same(answers(network, images, valid, days), answers(network, images[:, order], valid[:, order], days[:, order]))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), more=st.integers(1, 4))
def test_dates_that_are_nowhere_valid_change_nothing(network: torch.nn.Module, seed: int, more: int) -> None:
    images, valid, days = series(seed)
    longer = (
        torch.cat([images, torch.full((2, more, *images.shape[2:]), 7.0)], 1),
        torch.cat([valid, torch.zeros((2, more, *valid.shape[2:]), dtype=torch.bool)], 1),
        torch.cat([days, torch.zeros((2, more), dtype=torch.int32)], 1),
    )

    same(answers(network, images, valid, days), answers(network, *longer))


def test_what_an_invalid_date_shows_and_when_it_was_has_no_influence(network: torch.nn.Module) -> None:
    images, valid, days = series(3)
    before = answers(network, images, valid, days)
    images[0, 1], days[0, 1], days[1, -1] = 1000.0, 5, 17

    same(before, answers(network, images, valid, days))


def test_a_series_and_its_planes_have_the_same_answer(network: torch.nn.Module) -> None:
    images, valid, days = series(4)
    laid = np.stack([planes(*(part.numpy() for part in one)) for one in zip(images, valid, days, strict=True)])

    same(answers(network, images, valid, days), answers(network, torch.from_numpy(laid)))
    same(answers(network, images, valid, days), answers(network, torch.from_numpy(laid).to(memory_format=torch.channels_last)))


def test_a_series_without_anything_valid_has_an_answer_that_is_a_number(network: torch.nn.Module) -> None:
    images, valid, days = series(5)

    assert answers(network, images * 0, valid & False, days).isfinite().all()


def test_every_weight_learns(network: torch.nn.Module) -> None:
    network.train()
    network.zero_grad()
    network(*series(6)).square().mean().backward()
    network.eval()

    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    ours = [name for name in silent if not name.endswith("keys.bias") and not name.startswith("encoder.")]
    assert not ours, "but for a bias of keys, which moves all dates alike, and for layers of an encoder that are left out"


@pytest.mark.parametrize("model", [Ltae(), TempCnn()])
def test_networks_of_single_pixels_see_no_neighbour(model: Ltae | TempCnn) -> None:
    network = model.build(channels=CHANNELS, classes=3).eval()
    images, valid, days = series(7)
    before = answers(network, images, valid, days)
    images[..., 0, 0] += 50.0
    after = answers(network, images, valid, days)

    same(before[..., 1:, :], after[..., 1:, :])
    assert not torch.allclose(before[..., 0, 0], after[..., 0, 0])


@pytest.mark.parametrize("position", ["year", "start"])
def test_positions_tell_days_apart(position: str) -> None:
    places = Positions(32, 4, position=position)  # type: ignore[arg-type]
    days = torch.tensor([[19_000, 19_010, 19_100]], dtype=torch.int32)

    found = places(days, torch.ones_like(days, dtype=torch.bool))[0]

    assert torch.cdist(found, found)[~torch.eye(3, dtype=torch.bool)].min() > 0.1


def test_the_same_day_of_another_year_has_the_same_place_in_the_year() -> None:
    places = Positions(32, 4, position="year")
    days = torch.tensor([[18_262, 18_262 + 731]], dtype=torch.int32)  # 2020-01-01 and 2022-01-01

    found = places(days, torch.ones_like(days, dtype=torch.bool))[0]

    np.testing.assert_array_equal(found[0], found[1])


@given(st.dates(datetime.date(1950, 1, 1), datetime.date(2099, 12, 31)))
def test_the_day_of_the_year_is_that_of_the_calendar(when: datetime.date) -> None:
    days = torch.tensor([(when - datetime.date(1970, 1, 1)).days])

    assert day_of_year(days).item() == when.timetuple().tm_yday - 1


def test_regular_steps_take_what_was_measured_nearest() -> None:
    body = TempCnnBody(1, 2, steps=12, width=4, kernel=3, hidden=4, dropout=0.0)
    days = torch.tensor([[18_262 + 15, 18_262 + 200]], dtype=torch.int32)
    values = torch.tensor([[[1.0], [5.0]]])

    found = body.regular(values, torch.ones((1, 2), dtype=torch.bool), days)[0, :, 0]

    assert found[0] == pytest.approx(1.0, abs=1e-3)
    assert found[6] == pytest.approx(5.0, abs=1e-3)
    assert found[11] == pytest.approx(1.0, abs=1e-3), "the year is a circle"


def test_a_parcel_cut_in_two_has_the_answer_of_a_whole_one() -> None:
    torch.manual_seed(1)
    network: PixelSetNetwork = PixelSet().build(channels=CHANNELS, classes=3).eval()  # type: ignore[assignment]
    images, valid, days = (part[0] for part in series(8))
    places = torch.randint(-1, 4, images.shape[-2:], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = network.summed(images, valid, places, count=4)
        halves = [network.summed(images[..., cols], valid[..., cols], places[:, cols], count=4) for cols in (slice(0, 5), slice(5, None))]
        joined = tuple(one + other for one, other in zip(*halves, strict=True))

        same(network.decided(whole, days), network.decided(joined, days))


def test_features_that_heads_cannot_share_are_refused() -> None:
    for make in (lambda: Ltae(width=30, heads=8), lambda: Utae(widths=[32, 36]), lambda: SharedEncoder(width=10)):
        with pytest.raises(ConfigError, match="shared out among"):
            make()
