"""Jobs of a sweep that are composed at once are those that Hydra composes one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from geohydra.command.arguments import Asked
from geohydra.config.repeated import Repeated

WORDS = ("train.lr=0.1,0.2", "model=unet,fpn", "train={epochs:3}", "name=a,b", "+optimizer.extra=1,2", "augment=none", "source.scenes=4,5")


@pytest.mark.parametrize(
    "words", [WORDS, ("predict.window=64,128", "predict=fast"), ("task=classification,semantic_segmentation", "seed=1,2")]
)
def test_they_are_the_same(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Asked(words, True, "geohydra").compose()

    def one_by_one(self: Any, words: Sequence[str]) -> Any:
        return self._loader.load_sweep_config(self._master, list(words))

    monkeypatch.setattr(Repeated, "load", one_by_one)

    assert ours == Asked(words, True, "geohydra").compose()
