"""Where a training stands: its scores so far, the best of them, and whether it is over."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from geohydra.training.settings import Training

Values = dict[str, float]

LAST = "last"
"""Instead of a score: the last epoch is kept, where what is for choosing is too little to tell epochs apart."""

_LEAST = ("loss", "rmse", "mae", "ece", "count_error")
"""Of these the least is best."""


@dataclass(slots=True)
class Standing:
    """Scores of every epoch so far, and how the best one is chosen: the highest `monitor`, the least `loss` or error, or the `last` one."""

    monitor: str
    settings: Training
    history: list[Values] = field(default_factory=list)

    def score(self, values: Values) -> float:
        """Higher is better; a score that has no meaning is the worst."""
        value = values.get(f"val/{self.monitor}", math.nan)
        value = -value if self.monitor in _LEAST else value
        return -math.inf if math.isnan(value) else value

    @property
    def scores(self) -> list[float]:
        """One for each epoch."""
        if self.monitor == LAST:
            return [float(epoch) for epoch in range(len(self.history))]
        return [self.score(values) for values in self.history]

    @property
    def best(self) -> int:
        """The epoch, from 0, whose weights are kept: the first of the best."""
        scores = self.scores
        return scores.index(max(scores))

    def kept(self, count: int) -> list[int]:
        """So many of the best epochs, the best first; of equal ones the first."""
        scores = self.scores
        return sorted(range(len(scores)), key=lambda epoch: -scores[epoch])[:count]

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - 1 - self.best if self.history else 0

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        patience = self.settings.patience
        return len(self.history) >= self.settings.epochs or (patience is not None and self.waited >= patience)
