"""A network that compares two images: any architecture, any number of bands, folding changes nothing."""

from __future__ import annotations

import pytest
import torch

from geohydra.errors import ConfigError
from geohydra.models.folding import fold
from geohydra.models.siamese import Siamese


@pytest.mark.parametrize("fusion", ["concat", "difference"])
@pytest.mark.parametrize("architecture", ["unet", "fpn", "deeplabv3plus", "segformer"])
def test_it_answers_for_every_pixel_and_alike_after_folding(architecture: str, fusion: str) -> None:
    torch.manual_seed(0)
    network = Siamese(architecture=architecture, fusion=fusion).build(channels=6, classes=3).eval()  # type: ignore[arg-type]
    images = torch.randn(2, 6, 64, 96)

    with torch.no_grad():
        expected, folded = network(images), fold(network, images)(images)

    assert expected.shape == (2, 3, 64, 96)
    assert torch.allclose(expected, folded, atol=1e-2)


def test_the_same_image_twice_is_no_difference_whatever_it_shows() -> None:
    torch.manual_seed(0)
    network = Siamese(fusion="difference").build(channels=4, classes=2).eval()
    one, other = torch.randn(2, 1, 2, 64, 64).unbind()

    with torch.no_grad():
        same, also = network(torch.cat([one, one], 1)), network(torch.cat([other, other], 1))
        forth, back = network(torch.cat([one, other], 1)), network(torch.cat([other, one], 1))

    assert torch.allclose(same, also, atol=1e-5)
    assert torch.allclose(forth, back, atol=1e-5)
    assert not torch.allclose(forth, same, atol=1e-3)


def test_an_odd_number_of_bands_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 channels"):
        Siamese().build(channels=5, classes=2)
