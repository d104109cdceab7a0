"""Values that look like credentials: a config, a plan and a compiled file are read by many, and hold names of secrets only.

What is looked for: the shapes in which well-known services write their keys, passwords inside addresses, and long random
text under a key that speaks of a secret. Digests (hexadecimal), paths and names of Kubernetes secrets are none.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from geohydra.errors import ConfigError

HINT = "keep it in the environment, or in a secret that `cluster.secret_env` names"

_SHAPES: Mapping[str, str] = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a signed address": r"[?&](?:X-Amz-Signature|X-Goog-Signature|sig|Signature)=[\w%+/.=-]{20,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*:[^\s/@'\"]+@",
    "an Azure account key": r"AccountKey=[\w+/=]{40,}",
    "a Google key": r"\bAIza[\w-]{35}\b|\bya29\.[\w-]{20,}",
    "a GitHub token": r"\bgh[pousr]_\w{36,}|\bgithub_pat_\w{40,}",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abeprs]-[\w-]{10,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an API key": r"\bsk-[\w-]{20,}|\b[rs]k_live_\w{20,}|\bnpm_\w{36}\b|\bpypi-[\w-]{50,}",
    "a signed token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a bearer token": r"\b[Bb]earer [\w.~+/-]{20,}",
}
_ANY = re.compile("|".join(f"(?:{shape})" for shape in _SHAPES.values()))
_RANDOM = re.compile(r"(?<![\w/+=.:-])[A-Za-z0-9/+]{40}(?![\w/+=.:-])")
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:password|passwd|passphrase|secret|token|api_?key|access_?key(?:_?id)?|credentials?)$", re.IGNORECASE
)
_PASSWORD = re.compile(r"(?:^|[_.-])(?:password|passwd|passphrase)$", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[\w.-]+")
"""How a key of a secret is named: `store-keys/access`."""


def blanked(text: str) -> str:
    """A text in which nothing of a known shape of credentials is left."""
    return _ANY.sub("[left out]", text)


def credentials(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """The place, and what it looks like, of every credential in nested data."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            place = f"{where}.{key}" if where else str(key)
            if told := credential_in(str(key)):
                yield where, told
            yield from credentials(item, place)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from credentials(item, f"{where}[{number}]")
    elif isinstance(value, str):
        told = credential_in(value) or _under(where.rpartition(".")[2], value)
        if told:
            yield where, told


def credential_in(text: str) -> str | None:
    """What a text holds that looks like a credential, in words; the text itself is never repeated."""
    if _ANY.search(text):
        return next(name for name, shape in _SHAPES.items() if re.search(shape, text))
    if any(_is_random(found[0]) for found in _RANDOM.finditer(text)):
        return "a secret key"
    return None


def refuse_credentials(value: Any, where: str = "") -> None:
    """Raise ConfigError for the first credential in nested data, or in a text."""
    for place, told in credentials(value, where):
        raise ConfigError(place, f"this looks like {told}", HINT)


def _under(key: str, value: str) -> str | None:
    """A value that only its key gives away."""
    if not value or _NAME.fullmatch(value) or value.startswith(("$", "env:")):
        return None
    if _PASSWORD.search(key):
        return "a password"
    mixed = any(sign.isdigit() for sign in value) and any(sign.isalpha() for sign in value)
    if _SECRET_KEY.search(key) and len(value) >= 12 and mixed and not re.search(r"\s", value) and entropy(value) >= 3.0:
        return "a secret"
    return None


def _is_random(text: str) -> bool:
    """Forty signs as a random generator draws them: all kinds, changing often. Words, paths and digests do not."""
    kinds = [0 if sign.islower() else 1 if sign.isupper() else 2 for sign in text]
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    return set(kinds) == {0, 1, 2} and changes >= 14 and entropy(text) >= 4.2


def entropy(text: str) -> float:
    """Bits a sign, from how often each sign occurs."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
