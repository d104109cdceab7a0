"""Tab completion: Hydra's own, which knows groups, options and keys, plus geohydra's verbs."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout


def complete(overrides: Sequence[str], verbs: Sequence[str]) -> int:
    """`install=SHELL` prints the script to evaluate; `query=SHELL` the completions of the line in COMP_LINE."""
    from geohydra.config.compose import complete as by_hydra
    from geohydra.config.folders import groups

    line = os.environ.get("COMP_LINE")
    if line is None or not any(word.startswith("query=") for word in overrides):
        by_hydra(overrides)
        return 0
    os.environ["COMP_LINE"] = without_verb(line, verbs)
    with redirect_stdout(io.StringIO()) as answer:
        by_hydra(overrides)
    for word in [*completed_verbs(line, verbs), *finished(answer.getvalue().split(), groups())]:
        print(word)
    return 0


def finished(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Hydra's words, a group that has groups below it written as one that takes a value, and followed by those.

    `model/for` and its like, defaults by task, are for no command line.
    """
    found: dict[str, None] = {}
    for word in words:
        group = word.removesuffix("/").removesuffix("=")
        below = [f"{name}=" for name in known if name.startswith(f"{group}/")]
        found |= dict.fromkeys([f"{group}=", *below] if group in known else [word])
    return [word for word in found if not word.partition("=")[0].endswith("/for") and "=for/" not in word]


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
