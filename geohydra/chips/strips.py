"""Windows of a scene served from strips that roll down it: every pixel is read, and every label burnt, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.candidates import Candidate, Candidates
from geohydra.errors import DataError
from geohydra.task import Attributed, Ground, Instances, Measured, Objects
from geohydra.types import IGNORE, Grid, Image, Series, Shape, Window

Arrays = tuple[NDArray[Any], ...]
"""Arrays whose last two axes are rows and columns."""

_WIDE = 8192
"""Columns of a panel, at most, beyond one chip: what bounds memory for a very wide scene."""

_SPARSE = 3
"""Windows that together cover less than one part in so many are read one by one."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Columns of a scene, read down to the row `stop` in strips that end at multiples of `step`."""

    col: int
    cols: int
    step: int
    stop: int

    def strip(self, row: int) -> Window:
        """The strip that begins at a row."""
        stop = min((row // self.step + 1) * self.step, self.stop)
        return Window(row, self.col, Shape(stop - row, self.cols))


class Rolling:
    """Rows of a panel of columns, from `fetch`; windows must come by row, lie within the panel and end before `stop`.

    With a pool of one thread the next strip is fetched while this one is in use.
    """

    def __init__(self, fetch: Callable[[Window], Arrays], panel: Panel, *, pool: Executor | None = None) -> None:
        self._fetch, self._panel, self._pool = fetch, panel, pool
        self._top = self._bottom = 0
        self._held: Arrays = ()
        self._ahead: tuple[Window, Future[Arrays]] | None = None

    def read(self, window: Window) -> Arrays:
        """Views of the rows at hand: good until the next read."""
        self._roll(window.row, window.row_stop)
        rows = slice(window.row - self._top, window.row_stop - self._top)
        cols = slice(window.col - self._panel.col, window.col_stop - self._panel.col)
        return tuple(array[..., rows, cols] for array in self._held)

    def reaches(self, window: Window) -> bool:
        """Whether a window lies in the panel, and not above what is held."""
        panel = self._panel
        within = panel.col <= window.col and window.col_stop <= panel.col + panel.cols and window.row_stop <= panel.stop
        return within and window.row >= self._top

    def _roll(self, top: int, bottom: int) -> None:
        if top >= self._bottom:
            on_its_way = self._ahead is not None and top < self._ahead[0].row_stop
            self._held = ()
            self._top = self._bottom = self._bottom if on_its_way else top
        while self._bottom < bottom:
            strip = self._panel.strip(self._bottom)
            fresh = self._take(strip)
            kept = [array[..., max(0, top - self._top) :, :] for array in self._held]
            self._held = tuple(np.concatenate(pair, axis=-2) for pair in zip(kept, fresh, strict=True)) if kept else fresh
            self._top, self._bottom = max(top, self._top) if kept else strip.row, strip.row_stop

    def _take(self, strip: Window) -> Arrays:
        ahead, self._ahead = self._ahead, None
        found = ahead[1].result() if ahead else ()
        if ahead is None or ahead[0] != strip:
            found = self._fetch(strip)
        if self._pool is not None and strip.row_stop < self._panel.stop:
            coming = self._panel.strip(strip.row_stop)
            self._ahead = coming, self._pool.submit(self._fetch, coming)
        return found


class RollingGround:
    """The ground of a panel: each way of numbering classes is burnt once a strip. Windows that reach beyond it are burnt alone."""

    def __init__(self, ground: Ground, panel: Panel) -> None:
        self._ground, self._panel = ground, panel
        self._burnt: dict[tuple[tuple[tuple[str, int], ...], int], Rolling] = {}

    @property
    def grid(self) -> Grid:
        return self._ground.grid

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        key = (tuple(ids.items()), background)
        if key not in self._burnt:
            self._burnt[key] = self._rolling(dict(ids), background)
        held = self._burnt[key]
        return held.read(window)[0] if held.reaches(window) else self._ground.mask(window, ids=ids, background=background)

    def known(self, window: Window) -> NDArray[np.bool_]:
        return self._ground.known(window)

    def objects(self, window: Window) -> Objects:
        return self._ground.objects(window)

    def instances(self, window: Window) -> Instances:
        return self._ground.instances(window)

    def values(self, window: Window) -> NDArray[np.float32]:
        """See geohydra.task.Measured. Raises DataError where the ground tells no numbers."""
        if not isinstance(self._ground, Measured):
            raise DataError("source", "the labels tell no numbers", "bring the band that is to be learnt beside the imagery")
        return self._ground.values(window)

    def attribute(self, name: str) -> NDArray[np.float64]:
        """See geohydra.task.Attributed. Raises DataError where the ground tells no attributes of objects."""
        if not isinstance(self._ground, Attributed):
            raise DataError("source.labels", "tell no attribute of a polygon", f"bring polygons with the column {name!r}")
        return self._ground.attribute(name)

    def counts(self, window: Window, valid: NDArray[np.bool_], classes: Sequence[str]) -> dict[str, int]:
        """Valid pixels of each class in a window, from a mask at hand where one tells them all apart."""
        ids, background = self._numbering(classes)
        mask = self.mask(window, ids=ids, background=background)
        if valid.all():
            return {name: int(np.count_nonzero(mask == ids[name])) for name in classes}
        return {name: int(np.count_nonzero((mask == ids[name]) & valid)) for name in classes}

    def _numbering(self, classes: Sequence[str]) -> tuple[dict[str, int], int]:
        for pairs, background in self._burnt:
            ids = dict(pairs)
            wanted = [ids.get(name, background) for name in classes]
            others = {background, IGNORE, *(number for name, number in ids.items() if name not in classes)}
            if len(set(wanted)) == len(wanted) and others.isdisjoint(wanted):
                return ids, background
        return {name: place for place, name in enumerate(classes)}, len(classes)

    def _rolling(self, ids: dict[str, int], background: int) -> Rolling:
        def burn(window: Window) -> Arrays:
            return (self._ground.mask(window, ids=ids, background=background),)

        return Rolling(burn, self._panel)


def rolling_image(
    read: Callable[[Window], Image | Series],
    panel: Panel,
    *,
    pool: Executor | None = None,
    make: Callable[[NDArray[Any], NDArray[np.bool_]], Image | Series] = Image,
) -> Callable[[Window], Image | Series]:
    """A reader of windows, from a reader of strips; `make` puts pixels and validity together again."""

    def strip(window: Window) -> Arrays:
        image = read(window)
        return image.pixels, image.valid

    held = Rolling(strip, panel, pool=pool)

    def view(window: Window) -> Image | Series:
        return make(*held.read(window))

    return view


def widest(dates: int, block: int) -> int:
    """Columns of a panel of a series of so many dates, at most: whole blocks, in about as much memory as an image of several bands."""
    return _WIDE if dates == 1 else max(1, 4 * _WIDE // (dates * block)) * block


def panels(found: Sequence[Candidate], *, wide: int = _WIDE) -> Iterator[Candidates]:
    """Candidates that share strips, by row: few columns at a time, and scattered ones alone."""
    if not found:
        return
    candidates = Candidates.of(found)
    groups = candidates.cols // wide
    ordered = candidates.take(np.lexsort((candidates.cols, candidates.rows, groups)))
    _, starts = np.unique(np.sort(groups), return_index=True)
    for start, stop in pairwise([*starts.tolist(), len(ordered)]):
        members = ordered[start:stop]
        if _sparse(members):
            yield from (members[place : place + 1] for place in range(len(members)))
        else:
            yield members


def panel_of(found: Sequence[Candidate], *, block: int) -> Panel:
    """The columns and rows that some candidates need, in strips of whole blocks at least as high as a chip."""
    members = Candidates.of(found)
    high, wide = members.shape.rows, members.shape.cols
    col, stop = int(members.cols.min()), int(members.rows.max()) + high
    step = -(-high // block) * block if len(members) > 1 else stop
    return Panel(col, int(members.cols.max()) + wide - col, step, stop)


def _sparse(members: Candidates) -> bool:
    panel = panel_of(members, block=1)
    rows = panel.stop - int(members.rows.min())
    return bool(len(members) * members.shape.size * _SPARSE < rows * panel.cols)
