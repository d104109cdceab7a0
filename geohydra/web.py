"""The door to web servers: requests that are repeated where that can help, and answers told in a sentence.

What may pass (HTTP 429, 5xx, no answer in time) is tried again, later each time; what will not (401, 403, 404) is told at once.
`GEOHYDRA_TIMEOUT` (seconds, 30) and `GEOHYDRA_RETRIES` (4) in the environment say how patient to be.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import signing
from geohydra.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests
    import urllib3

PASSING = (429, 500, 502, 503, 504)
"""Answers that the same request may not get a second time."""

_CONNECT_SECONDS = 10.0
_PIECE = 1 << 20


def is_web(uri: str) -> bool:
    """Whether an address is asked for over http(s)."""
    return uri.startswith(("http://", "https://"))


def timeout() -> tuple[float, float]:
    """Seconds to wait for a connection, and for an answer."""
    seconds = float(os.environ.get("GEOHYDRA_TIMEOUT", "30"))
    return min(_CONNECT_SECONDS, seconds), seconds


def retries() -> int:
    """How often a request is repeated."""
    return int(os.environ.get("GEOHYDRA_RETRIES", "4"))


def retrying(total: int) -> urllib3.Retry:
    """The rule of repeating, for whoever makes requests: waits 0.5, 1, 2, ... seconds, or as long as the server asks for."""
    import urllib3

    return urllib3.Retry(total=total, backoff_factor=0.25, status_forcelist=PASSING, allowed_methods=None, raise_on_status=False)


def ask(uri: str) -> dict[str, Any]:
    """Size, ETag and time of change, where the server tells them. Raises FileNotFoundError where nothing is there, else DataError."""
    answer = _request("HEAD", uri)
    if answer.status_code in (400, 403, 405, 501):
        answer = _request("GET", uri, {"Range": "bytes=0-0"})
    _refuse(uri, answer)
    told = {"size": _size(answer), "ETag": answer.headers.get("ETag"), "LastModified": answer.headers.get("Last-Modified")}
    return {key: value for key, value in told.items() if value is not None}


def read(uri: str) -> bytes:
    """The whole content. Raises FileNotFoundError where nothing is there, else DataError."""
    answer = _request("GET", uri)
    _refuse(uri, answer)
    return answer.content


def head(uri: str, size: int) -> bytes:
    """The first bytes, at most so many. Raises like `read`."""
    answer = _request("GET", uri, {"Range": f"bytes=0-{size - 1}"}, stream=True)
    with answer:
        _refuse(uri, answer)
        return next(answer.iter_content(size), b"")[:size]


def save(uri: str, path: Path) -> None:
    """The whole content as a file. Raises like `read`."""
    answer = _request("GET", uri, stream=True)
    with answer, path.open("wb") as file:
        _refuse(uri, answer)
        for piece in answer.iter_content(_PIECE):
            file.write(piece)


def refusal(status: int) -> tuple[str, str]:
    """What an HTTP status means for who asked: the fact and the remedy."""
    if status in (401, 403):
        remedy = "give credentials in the environment, or sign addresses with source.sign"
        return f"access is denied (HTTP {status})", remedy
    if status in (404, 410):
        return f"nothing is at this address (HTTP {status})", "check the spelling, or whether it was moved"
    if status == 429:
        return f"the server has had too many requests (HTTP 429), also after {retries()} more", "wait, and start again"
    if status >= 500:
        return f"the server fails (HTTP {status}), also after {retries()} more requests", "it is the server's fault: try again later"
    return f"the server refuses (HTTP {status})", "check the address"


def unanswered(cause: Exception) -> tuple[str, str]:
    """Why no answer came: the fact and the remedy."""
    text = f"{type(cause).__name__} {cause}".lower()
    if "timed out" in text or "timeout" in text:
        fact = f"no answer within {timeout()[1]:g} s, also after {retries()} more requests"
        return fact, "try again later, or be more patient with GEOHYDRA_TIMEOUT=SECONDS"
    if "name or service" in text or "resolve" in text:
        return "the server's name is not known", "check the spelling of the address, and the network"
    return "the server cannot be reached", "check the address and the network"


def _request(method: str, uri: str, headers: Mapping[str, str] | None = None, *, stream: bool = False) -> requests.Response:
    import requests

    try:
        asked = {"Accept-Encoding": "identity", **(headers or {})} if method == "HEAD" or headers else {}
        return _session(retries()).request(
            method, signing.signed(uri), headers=asked, timeout=timeout(), stream=stream, allow_redirects=True
        )
    except requests.RequestException as cause:
        raise DataError(signing.bare(uri), *unanswered(cause)) from None


@cache
def _session(total: int) -> requests.Session:
    """Connections that are kept for the next request."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    adapter = HTTPAdapter(max_retries=retrying(total), pool_maxsize=32)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _refuse(uri: str, answer: requests.Response) -> None:
    if answer.status_code in (404, 410):
        raise FileNotFoundError(signing.bare(uri))
    if answer.status_code >= 400:
        raise DataError(signing.bare(uri), *refusal(answer.status_code))


def _size(answer: requests.Response) -> int | None:
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    text = whole if whole.isdigit() else answer.headers.get("Content-Length") if answer.status_code == 200 else None
    return int(text) if text and text.isdigit() else None
