"""Jobs of a sweep that differ in values only: composed once for each choice of groups, then changed. Hydra's composition takes a
quarter of a second; sixty jobs would wait for it longer than for anything else."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


class Repeated:
    """Gives what the loader's own `load_sweep_config` gives."""

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def load(self, words: Sequence[str]) -> DictConfig:
        """The config of one job. Raises what Hydra raises."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parsed = OverridesParser.create(config_loader=self._loader).parse_overrides(list(words))
        later = [one for one in parsed if self._only_sets_a_value(one, parsed)]
        fixed = tuple(word for word, one in zip(words, parsed, strict=True) if one not in later)
        if fixed not in self._bases:
            self._bases[fixed] = self._loader.load_sweep_config(self._master, list(fixed))
        config = copy.deepcopy(self._bases[fixed])
        self._loader._apply_overrides_to_config(later, config)
        config.hydra.overrides.task = [one.input_line for one in parsed if not one.is_hydra_override()]
        return config

    def _only_sets_a_value(self, override: Override, all_of_them: Sequence[Override]) -> bool:
        """A plain value under a key that no other override touches, so that it does not matter when it is set."""
        key = override.key_or_group
        if override.is_hydra_override() or override.is_add() or override.is_delete() or override.package is not None:
            return False
        if isinstance(override.value(), dict | list) or self._loader.repository.group_exists(key):
            return False
        others = [one.key_or_group for one in all_of_them if one is not override]
        return not any(f"{one}.".startswith(f"{key}.") or f"{key}.".startswith(f"{one}.") for one in others if "." in one or one == key)
