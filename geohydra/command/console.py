"""Plain text for a terminal: tables, and paths as the user would type them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from geohydra.errors import GeohydraError

_ALIKE = 3


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what they hold; numbers to the right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[place]) for line in [list(headers), *texts]) for place in range(len(headers))]
    numeric = [bool(rows) and all(isinstance(row[place], int | float | None) for row in rows) for place in range(len(headers))]
    lines = [list(headers), ["-" * width for width in widths], *texts]
    return "\n".join(_line(line, widths, numeric) for line in lines)


def error_lines(errors: Sequence[GeohydraError]) -> list[str]:
    """A line for every error; of those that say the same of many places, the first few and a count."""
    alike: dict[tuple[str, str], list[GeohydraError]] = {}
    for error in errors:
        alike.setdefault((error.problem, error.hint), []).append(error)
    lines = []
    for same in alike.values():
        lines += [f"geohydra: {error}" for error in same[:_ALIKE]]
        if len(same) > _ALIKE:
            lines.append(f"geohydra: ... and {len(same) - _ALIKE} more of which the same is true, the last is {same[-1].where}")
    return lines


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def near_path(path: Path | str) -> str:
    """Relative to where the user stands, if that is shorter."""
    full = str(Path(path).absolute())
    relative = os.path.relpath(full)
    return relative if len(relative) < len(full) else full


def _line(texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = (text.rjust(width) if right else text.ljust(width) for text, width, right in zip(texts, widths, numeric, strict=True))
    return "  ".join(cells).rstrip()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
