"""What MLflow is told of a config: flat parameters, numbers that were swept, tags, a note. Pure, but for git's answer."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SKIPPED = frozenset({"lock", "pipeline", "tracking", "runner", "hydra", "hardware", "cluster", "sweep"})
"""Parts of a config that stay out of the parameters: long, or no part of what is compared. The whole config is an artefact."""

_LONGEST_VALUE = 500
_LONGEST_KEY = 250
_LONGEST_TAG = 5000
_FORBIDDEN = re.compile(r"[^\w.\-:/ ]")


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys to text: lists as one value, keys as MLflow allows them, values cut where they are long."""
    return {key_name(key): cut(text, _LONGEST_VALUE) for key, text in _leaves(config, "")}


def job_params(config: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of one job: its config without the parts that nobody compares."""
    return flatten({key: value for key, value in config.items() if key not in SKIPPED})


def key_name(key: str) -> str:
    """A key as MLflow allows it: letters, digits, `_ - . : /` and spaces."""
    parts = [part for part in _FORBIDDEN.sub("_", key).split("/") if part.strip(".")]
    return "/".join(parts)[:_LONGEST_KEY].rstrip("/") or "_"


def cut(text: str, length: int) -> str:
    """The text, or as much of it as fits, with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def swept_numbers(overrides: Sequence[str]) -> dict[str, float]:
    """`hp/train.lr` for every override that is a number: MLflow sorts parameters as text, metrics as numbers."""
    found = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        number = _number(value)
        if number is not None and not key.startswith(("~", "hydra")):
            found[key_name(f"hp/{key}")] = number
    return found


def run_tags(kind: str, overrides: Sequence[str], *, number: int | None, commit: str) -> dict[str, str]:
    """What runs can be filtered by; only what is known."""
    known = {
        "geohydra.kind": kind,
        "geohydra.overrides": cut(" ".join(overrides), _LONGEST_TAG),
        "hydra.job.num": "" if number is None else str(number),
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": "geohydra",
        "mlflow.source.type": "LOCAL",
    }
    return {key: value for key, value in known.items() if value}


def git_commit(folder: Path) -> str:
    """The commit that a folder's repository stands at; "" without a repository, without git, or when git is slow."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=2, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def summary(config: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """A note in Markdown: what was asked, in the words of the config."""
    lines = [f"- {noun}: {text}" for noun in ("task", "source", "model") if (text := _said(config.get(noun)))]
    if overrides:
        lines.append("- overrides: " + " ".join(f"`{override}`" for override in overrides))
    return "\n".join(lines)


def _said(node: Any) -> str:
    """A config node in a few words: the last part of its class, then its plain values."""
    if not isinstance(node, Mapping):
        return ""
    words = [str(node.get("_target_", "")).rpartition(".")[2]]
    words += [f"{key} {text}" for key, text in _leaves(node, "") if "_target_" not in key and "." not in key and len(text) <= 60]
    return ", ".join(word for word in words if word)


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        place = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{place}.")
        else:
            yield place, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, default=str)
    return str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
