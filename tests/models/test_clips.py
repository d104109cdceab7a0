from __future__ import annotations

from typing import Any

import pytest
import torch

from geohydra.errors import ConfigError
from geohydra.models.clips import ClipClassifier


def _series(bands: int, times: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.randn(2, times, bands, size, size, generator=torch.Generator().manual_seed(0))
    return images, torch.ones(2, times, size, size, dtype=torch.bool), torch.zeros(2, times, dtype=torch.int32)


@pytest.mark.parametrize("architecture", ["small", "r3d_18", "mc3_18", "r2plus1d_18"])
@pytest.mark.parametrize("bands", [1, 4])
def test_clips_of_any_bands_get_one_answer(architecture: Any, bands: int) -> None:
    network = ClipClassifier(architecture=architecture, frames=4).build(channels=bands, classes=3).eval()

    with torch.inference_mode():
        assert network(*_series(bands, 6, 32)).shape == (2, 3)
        assert network(torch.randn(1, bands, 32, 32)).shape == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "frames", "size"), [("s3d", 16, 224), ("mvit_v2_s", 16, 224), ("swin3d_t", 4, None)])
def test_larger_networks_are_given_the_clips_that_they_ask_for(architecture: Any, frames: int, size: int | None) -> None:
    network = ClipClassifier(architecture=architecture, frames=frames, size=size).build(channels=2, classes=5).eval()

    with torch.inference_mode():
        assert network(*_series(2, 3, 64)).shape == (2, 5)


def test_frames_without_measured_pixels_are_not_looked_at() -> None:
    network = ClipClassifier(architecture="small", frames=4).build(channels=2, classes=3).eval()
    images, valid, days = _series(2, 6, 32)
    filled = torch.cat([images, torch.full_like(images, 9.0)], 1), torch.cat([valid, ~valid], 1), torch.cat([days, days], 1)

    with torch.inference_mode():
        torch.testing.assert_close(network(*filled), network(images, valid, days))


def test_the_order_of_frames_matters() -> None:
    network = ClipClassifier(architecture="small", frames=6).build(channels=2, classes=3).eval()
    images, valid, days = _series(2, 6, 32)

    with torch.inference_mode():
        assert (network(images, valid, days) - network(images.flip(1), valid, days)).abs().max() > 1e-4


@pytest.mark.parametrize("keys", [{"architecture": "mvit_v2_s"}, {"architecture": "s3d"}, {"architecture": "small", "weights": "imagenet"}])
def test_what_a_network_cannot_see_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ClipClassifier(**keys)
