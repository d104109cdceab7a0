"""What a container tells of its step, by lines of its log and by a note in the store: `geohydra.steps.__main__` writes both."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

from geohydra import storage
from geohydra.work import Request, failure_uri

_PROGRESS = re.compile(r"(\d+)/(\d+) (.*)")


def event_of(line: str) -> dict[str, Any] | None:
    """Metrics of an epoch, or progress; None where it is any other line."""
    if line.startswith("{"):
        with suppress(ValueError):
            told = json.loads(line)
            return told if isinstance(told, dict) and isinstance(told.get("metrics"), dict) else None
        return None
    found = _PROGRESS.fullmatch(line)
    return {"progress": int(found[1]), "total": int(found[2]), "text": found[3]} if found else None


def told_failure(request: Request, since: datetime | None) -> str:
    """What a container left in the store about its failure, if that was not before; "" where it left nothing."""
    with suppress(FileNotFoundError):
        note = json.loads(storage.read_bytes(failure_uri(request)))
        if since is None or datetime.fromisoformat(note["time"]).timestamp() >= int(since.timestamp()):
            return str(note["told"])
    return ""


def parted(told: str) -> tuple[str, str]:
    """A step's own words: problem and hint where it was a mistake of the user, the last line of a traceback else."""
    if "Traceback (most recent call last)" in told:
        return told.strip().splitlines()[-1], "its log tells more"
    problem, _, hint = told.partition("; ")
    return problem, hint
