"""Changing training chips at random, so that a network sees more than there is. Only this module knows albumentations.

Mirror images and quarter turns are done here, on views of whole batches and for any dtype; everything else goes
through albumentations, whose transforms are looked up by name. Names are checked without importing it (that takes
seconds): they are read from its source. Arguments are checked when training starts.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.build import near
from geohydra.chips.rows import turned_points
from geohydra.errors import ConfigError

Array = NDArray[Any]
Floats = NDArray[np.float64]
Key = tuple[int, ...]
"""What a draw depends on, and nothing else: seed, epoch, place of the chip."""

_SYMMETRIES = {"HorizontalFlip": 0.5, "VerticalFlip": 0.5, "Transpose": 0.5, "RandomRotate90": 1.0, "D4": 1.0, "SquareSymmetry": 1.0}
"""Exact symmetries of a square, and the probability that albumentations gives them."""

_CENTRE = 0.5
"""Albumentations counts from the middle of the first pixel, geohydra from its corner."""


class Augment:
    """Transforms of albumentations by name with their arguments, in the order in which they are applied.

    `transforms: [{HorizontalFlip: {p: 0.5}}, {RandomBrightnessContrast: {}}]`. Those that turn or warp move labels
    and validity along with the pixels, by nearest neighbour. uint8 imagery reaches them as it is; other
    imagery as float32 from 0 to 1, which stands for four deviations below to four above the mean of its band.
    """

    def __init__(self, *, transforms: list[dict[str, dict[str, Any] | None]]) -> None:
        self.transforms = [_entry(place, entry) for place, entry in enumerate(transforms)]
        self.symmetric = all(name in _SYMMETRIES and set(arguments) <= {"p"} for name, arguments in self.transforms)
        self._pipeline: Any = None
        if not self.symmetric:
            for place, (name, _) in enumerate(self.transforms):
                _check_name(place, name)

    @property
    def spatial(self) -> bool:
        """Whether any transform moves pixels."""
        return any(name in _SYMMETRIES or "DualTransform" in _families()[name] for name, _ in self.transforms)

    def turn(self, arrays: Sequence[Array], *, key: Key) -> list[Array]:
        """Mirrored and turned views of square arrays `(..., row, col)`, all in the same way; for `symmetric` only."""
        for quarters, mirrored in self._turns(key):
            arrays = [_turned(array, quarters, mirrored) for array in arrays]
        return list(arrays)

    def turn_points(self, points: Floats, side: int, *, key: Key) -> Floats:
        """Points `(point, 2)`, rows and columns from edge to edge, turned as `turn` turns the pixels of a square chip."""
        for quarters, mirrored in self._turns(key):
            points = turned_points(points, side, quarters, mirrored)
        return points

    def _turns(self, key: Key) -> Iterator[tuple[int, bool]]:
        rng = random.Random(repr(key))
        for name, arguments in self.transforms:
            if rng.random() < arguments.get("p", _SYMMETRIES[name]):
                yield _symmetry(name, rng)

    def __call__(self, pixels: Array, masks: Mapping[str, Array], *, key: Key) -> tuple[Array, dict[str, Array]]:
        """One chip `(band, row, col)`, uint8 or float32 from 0 to 1, and its masks `(row, col)`, changed together."""
        image, changed, _ = self.with_points(pixels, masks, np.empty((0, 2)), key=key)
        return image, changed

    def with_points(self, pixels: Array, masks: Mapping[str, Array], points: Floats, *, key: Key) -> tuple[Array, dict[str, Array], Floats]:
        """The same with points `(point, 2)`, rows and columns from edge to edge; they may leave the chip."""
        if self._pipeline is None:
            self._pipeline = _pipeline(self.transforms, tuple(masks), pointed=self.spatial)
        seed = random.Random(repr(key)).getrandbits(64)
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        known = np.isfinite(points).all(axis=1)
        try:
            arrays = {name: np.ascontiguousarray(mask) for name, mask in masks.items()}
            given = {"keypoints": (points[known] - _CENTRE)[:, ::-1].astype(np.float32)} if self.spatial else {}
            found = self._pipeline(image=image, **arrays, **given)
        except (ValueError, TypeError, RuntimeError) as cause:
            problem = f"a chip of {len(pixels)} bands, {pixels.dtype}, cannot be changed: {_one_line(cause)}"
            hint = "some transforms work on three bands or on uint8 only: leave them out"
            raise ConfigError("augment.transforms", problem, hint) from cause
        changed = {name: found[name] for name in masks}
        self._refuse_other_forms(image, found["image"])
        moved = points.copy()
        if given:
            moved[known] = np.asarray(found["keypoints"], np.float64).reshape(-1, 2)[:, ::-1] + _CENTRE
        return found["image"].reshape(image.shape).transpose(2, 0, 1), changed, moved

    def __getstate__(self) -> dict[str, Any]:
        """Without the pipeline: each loader process makes its own."""
        return self.__dict__ | {"_pipeline": None}

    def _refuse_other_forms(self, before: Array, after: Array) -> None:
        if after.shape[:2] != before.shape[:2] or after.size != before.size or after.dtype != before.dtype:
            names = ", ".join(name for name, _ in self.transforms)
            raise ConfigError(
                "augment.transforms",
                f"{names} turn a chip of {before.shape}, {before.dtype}, into {after.shape}, {after.dtype}",
                "a changed chip must keep its size and dtype; give `size`, and leave normalising to geohydra",
            )


def _entry(place: int, entry: Mapping[str, Mapping[str, Any] | None]) -> tuple[str, dict[str, Any]]:
    if len(entry) != 1:
        raise ConfigError(f"transforms[{place}]", f"one name is needed, not {len(entry)}", "write {HorizontalFlip: {p: 0.5}}")
    (name, arguments), *_ = entry.items()
    return name, dict(arguments or {})


def _check_name(place: int, name: str) -> None:
    known = {family for family, parents in _families().items() if _usable(family, parents)}
    if name not in known:
        raise ConfigError(f"transforms[{place}]", f"albumentations has no transform {name!r}", _hint(name, known))


def _usable(name: str, parents: frozenset[str]) -> bool:
    """Whether a class is a transform of flat images, not one that others are made from."""
    flat = "BasicTransform" in parents and bool(parents & {"DualTransform", "ImageOnlyTransform"})
    return flat and not ({name} | parents) & {"Transform3D"} and not name.startswith(("_", "Base"))


def _hint(name: str, known: set[str]) -> str:
    hint = near(name, known)
    return hint if hint.startswith("did") else "its reference lists them, for instance RandomBrightnessContrast and Affine"


@cache
def _families() -> dict[str, frozenset[str]]:
    """Every class of the installed albumentations with all classes above it, read from its source."""
    spec = importlib.util.find_spec("albumentations")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    parents: dict[str, tuple[str, ...]] = {}
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.py")):
        for name, listed in re.findall(r"^class (\w+)\(([^)]*)\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            parents.setdefault(name, tuple(part.strip() for part in listed.split(",") if "=" not in part))

    def above(name: str) -> frozenset[str]:
        direct = parents.get(name, ())
        return frozenset(direct).union(*(above(parent) for parent in direct))

    return {name: above(name) for name in parents}


def _pipeline(transforms: Sequence[tuple[str, dict[str, Any]]], masks: tuple[str, ...], *, pointed: bool) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    built = []
    for place, (name, arguments) in enumerate(transforms):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                built.append(getattr(albumentations, name)(**arguments))
        except (ValueError, TypeError, UserWarning) as cause:
            raise ConfigError(f"augment.transforms[{place}].{name}", f"albumentations refuses its arguments: {_one_line(cause)}") from cause
    points = albumentations.KeypointParams(format="xy", remove_invisible=False) if pointed else None
    return albumentations.Compose(built, additional_targets=dict.fromkeys(masks, "mask"), keypoint_params=points)


def _one_line(cause: Exception) -> str:
    return " ".join(str(cause).split())[:300]


def _symmetry(name: str, rng: random.Random) -> tuple[int, bool]:
    """Quarter turns, then whether to mirror columns."""
    if name == "HorizontalFlip":
        return 0, True
    if name == "VerticalFlip":
        return 2, True
    if name == "Transpose":
        return 3, True
    if name == "RandomRotate90":
        return rng.randrange(4), False
    return rng.randrange(4), rng.random() < 0.5


def _turned(array: Array, quarters: int, mirrored: bool) -> Array:
    turned = np.rot90(array, quarters, axes=(-2, -1))
    return turned[..., ::-1] if mirrored else turned
