"""Scenes of a STAC catalogue with labels from files laid on them, as the `files` source lays them on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geohydra import signing
from geohydra.errors import GeohydraError
from geohydra.sources.findings import Findings, Progress, unheard
from geohydra.sources.gathering import Gathering
from geohydra.sources.grids import TargetGrid
from geohydra.sources.headers import Draft, Rules, band_errors, type_notes
from geohydra.sources.inspection import Inspection
from geohydra.sources.label_rules import LabelRules
from geohydra.sources.pairing import BandFile, SceneFiles
from geohydra.sources.stac_scenes import Assembled, Opened, Wanted, scenes, told_grid
from geohydra.types import LockEntry

_APART = 0.5
"""Pixels by which a file may lie beside the place that its item tells."""


class StacGathering(Gathering):
    """One reading of a catalogue: only where its scenes come from is another than with files."""

    def __init__(
        self,
        catalog: str,
        labels: Sequence[str],
        rules: Rules,
        label_rules: LabelRules,
        *,
        grid: TargetGrid,
        scaled: bool,
        opened: bool,
    ) -> None:
        super().__init__((catalog,), labels, None, rules, label_rules, grid=grid)
        self._wanted = Wanted(rules, scaled, opened)

    def inspect(self, lock: Sequence[LockEntry], progress: Progress = unheard) -> Inspection:
        """As with files; every file is opened, and held against what its item tells of it."""
        self._wanted = replace(self._wanted, opened=True)
        return super().inspect(lock, progress)

    def _drafts(self, lock: Sequence[LockEntry], found: Findings, progress: Progress) -> list[Draft]:
        answers = scenes(lock, self._wanted, progress)
        found.errors += [answer for answer in answers if isinstance(answer, GeohydraError)]
        good = [answer for answer in answers if isinstance(answer, Assembled)]
        found.notes += [note for one in good for file in one.files for note in _contradictions(file)]
        drafts = [_draft(one) for one in good]
        found.errors += band_errors(drafts)
        found.notes += type_notes(drafts)
        return drafts


def _draft(one: Assembled) -> Draft:
    """Only scenes of which a file was opened are looked at for valid pixels: the others stay unopened."""
    files = SceneFiles(one.scene.id, tuple(BandFile(file.entry.uri) for file in one.files), time=one.scene.time)
    gaps = all(file.header is not None for file in one.files) and any(file.nodata is not None for file in one.files)
    return Draft(one.scene, files, gaps, one.extent)


def _contradictions(file: Opened) -> list[str]:
    """What an item tells of a file and the file itself denies: ingest would believe the item."""
    told = told_grid(file.entry)
    if file.header is None or told is None:
        return []
    facts = []
    if told.shape != file.grid.shape:
        theirs, ours = told.shape, file.grid.shape
        facts.append(f"its item tells of {theirs.rows} x {theirs.cols} pixels, it has {ours.rows} x {ours.cols}")
    if any(abs(one - other) > _APART * file.grid.resolution[0] for one, other in zip(told.bounds[::3], file.grid.bounds[::3], strict=True)):
        facts.append(f"its item tells of the corner {told.bounds[::3]}, its own is {file.grid.bounds[::3]}")
    kinds = file.told.get("dtype")
    if kinds and set(kinds) != {file.header.dtypes[index - 1] for index in file.bands.values()}:
        facts.append(f"its item tells of {', '.join(sorted(set(kinds)))}, it holds {file.dtype}")
    return [f"{signing.bare(file.entry.uri)}: {fact}; source.trust_items=false opens every file" for fact in facts]
