"""Tab completion: Hydra's own, which knows groups, options and keys, plus geohydra's verbs."""

from __future__ import annotations

import os
from collections.abc import Sequence


def complete(overrides: Sequence[str], verbs: Sequence[str]) -> int:
    """`install=SHELL` prints the script to evaluate; `query=SHELL` the completions of the line in COMP_LINE."""
    from geohydra.config.compose import complete as by_hydra

    line = os.environ.get("COMP_LINE")
    if line is not None and any(word.startswith("query=") for word in overrides):
        for verb in completed_verbs(line, verbs):
            print(verb)
        os.environ["COMP_LINE"] = without_verb(line, verbs)
    by_hydra(overrides)
    return 0


def completed_verbs(line: str, verbs: Sequence[str]) -> list[str]:
    """The verbs that the line's second word may still become."""
    words = line.split()
    begun = "" if line.endswith(" ") else words[-1]
    place = len(words) + (1 if line.endswith(" ") else 0)
    return [verb for verb in verbs if verb.startswith(begun)] if place == 2 else []


def without_verb(line: str, verbs: Sequence[str]) -> str:
    """The line as Hydra understands it: the verb cut out, a cursor behind a space kept."""
    words = line.split()
    if len(words) < 2 or words[1] not in verbs or (len(words) == 2 and not line.endswith(" ")):
        return line
    kept = [words[0], *words[2:]]
    return " ".join(kept) + (" " if line.endswith(" ") else "")
