"""A trained model that is asked several times: each window turned and mirrored, and each member of an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import ConfigError
from geohydra.task import Trained
from geohydra.types import Image, Series

if TYPE_CHECKING:
    import torch

    from geohydra.models.votes import Activation
    from geohydra.prediction.settings import Prediction

Turns = Literal["none", "flips", "d4"]
View = tuple[int, bool]
"""Quarter turns against the clock, and whether to mirror left to right after them."""

VIEWS: Mapping[Turns, tuple[View, ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "d4": tuple((quarters, mirrored) for mirrored in (False, True) for quarters in range(4)),
}


@runtime_checkable
class Ensemble(Protocol):
    """A trained model of several members."""

    members: int

    def each(self, batch: torch.Tensor) -> Iterator[torch.Tensor]:
        """The outputs of each member."""


def asked(trained: Trained, settings: Prediction, activation: Activation) -> Trained:
    """The model as the settings want it asked; itself, where one answer is enough.

    Raises ConfigError where the variance of one answer is asked for.
    """
    spread = settings.uncertainty == "variance"
    if settings.tta == "none" and not spread:
        return trained
    if spread and settings.tta == "none" and not (isinstance(trained, Ensemble) and trained.members > 1):
        hint = "take predict.tta=flips, train.keep_best=3, several bundles, or predict.uncertainty=entropy"
        raise ConfigError("predict.uncertainty", "a single answer has no variance", hint)
    return Asked(trained, views=VIEWS[settings.tta], activation=activation, spread=spread)


class Asked:
    """A trained model whose answers are the mean of those to all views, of all its members. See `geohydra.models.votes.joined`."""

    def __init__(self, trained: Trained, *, views: tuple[View, ...], activation: Activation, spread: bool) -> None:
        self.bands, self.details, self.device = trained.bands, trained.details, trained.device
        self._trained, self._views, self._activation, self._spread = trained, views, activation, spread

    def normalise(self, image: Image | Series) -> NDArray[np.float32]:
        """As the model does."""
        return self._trained.normalise(image)

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The joined outputs for a batch."""
        import torch

        outputs: NDArray[np.float32] = self.infer(torch.from_numpy(batch)).float().cpu().numpy()
        return outputs

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """The same with tensors."""
        import torch

        from geohydra.models.votes import joined

        with torch.inference_mode():
            return joined(self._answers(batch), self._activation, spread=self._spread)

    def _answers(self, batch: torch.Tensor) -> Iterator[torch.Tensor]:
        square = batch.shape[2] == batch.shape[3]
        for view in self._views:
            if square or view[0] % 2 == 0:
                turned = _turned(batch, view)
                found = self._trained.each(turned) if isinstance(self._trained, Ensemble) else iter([self._trained.infer(turned)])
                yield from (_back(outputs, view) for outputs in found)


def _turned(batch: torch.Tensor, view: View) -> torch.Tensor:
    quarters, mirrored = view
    turned = batch.rot90(quarters, (2, 3)) if quarters else batch
    return turned.flip(3) if mirrored else turned


def _back(outputs: torch.Tensor, view: View) -> torch.Tensor:
    """Answers for pixels or cells as they lie in the window; one for a whole image stays."""
    if outputs.ndim != 4:
        return outputs
    quarters, mirrored = view
    turned = outputs.flip(3) if mirrored else outputs
    return turned.rot90(-quarters, (2, 3)) if quarters else turned


def details_with(trained: Trained, thresholds: Mapping[str, float] | None) -> Mapping[str, Any]:
    """The model's card, with some thresholds by the user's choice."""
    return {**trained.details, "thresholds": {**(trained.details.get("thresholds") or {}), **(thresholds or {})}}
