"""The door to GDAL: its settings, opening a file, and what to say where a file cannot be opened."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from geohydra import signing, storage, web
from geohydra.errors import DataError

_CACHE_BYTES = 64 << 20

_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "VSI_CACHE": "TRUE",
}


@contextmanager
def gdal_env(uri: str = "") -> Iterator[None]:
    """GDAL's settings for one file: a bounded block cache; for remote files retries and few, merged range reads.

    Local files keep their neighbours (`.aux.xml`, `.msk`, `.ovr`, world files); of remote ones no folder is listed.
    """
    options: dict[str, Any] = {"GDAL_CACHEMAX": _CACHE_BYTES}
    if uri and not storage.is_local(uri):
        options |= _REMOTE | _patience() | _endpoint()
    with rasterio.Env(**options):
        yield


def _patience() -> dict[str, str]:
    """As long as for all other requests."""
    connect, answer = web.timeout()
    retries = str(web.retries())
    return {"GDAL_HTTP_CONNECTTIMEOUT": f"{connect:g}", "GDAL_HTTP_TIMEOUT": f"{answer:g}", "GDAL_HTTP_MAX_RETRY": retries}


def _endpoint() -> dict[str, str]:
    """An S3 server other than Amazon's, named in the environment as Amazon's own tools take it."""
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not url:
        return {}
    scheme, _, host = url.rpartition("://")
    return {"AWS_S3_ENDPOINT": host.rstrip("/"), "AWS_HTTPS": "NO" if scheme == "http" else "YES", "AWS_VIRTUAL_HOSTING": "FALSE"}


def open_raster(uri: str) -> Any:
    """An open rasterio dataset. Raises DataError with the reason where there is none."""
    with gdal_env(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return rasterio.open(_name(uri))
        except RasterioIOError as cause:
            raise _refusal(uri, cause) from (None if signing.is_marked(uri) else cause)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """GDAL's settings around reads of an open file; a block that cannot be read becomes a DataError."""
    with gdal_env(uri):
        try:
            yield
        except RasterioError as cause:
            fact = str(cause.__cause__ or cause).splitlines()[0]
            raise DataError(uri, f"is truncated or damaged, its pixels cannot be read ({fact})", "fetch or write it again") from cause


def _name(uri: str) -> str:
    """What GDAL opens: it may hold a signature, and is not to be told."""
    if signing.is_marked(uri):
        return signing.signed(uri)
    return str(storage.local_path(uri)) if storage.is_local(uri) and not uri.startswith("/vsi") else uri


def _refusal(uri: str, cause: RasterioIOError) -> DataError:
    if web.is_web(uri):
        return _web_refusal(uri)
    if not storage.is_local(uri):
        fact = signing.scrubbed(str(cause).splitlines()[0], uri)
        where = signing.bare(uri)
        return DataError(where, f"cannot be opened ({fact})", "check the address, the network and the credentials in the environment")
    path = storage.local_path(uri)
    if not path.exists():
        return DataError(uri, "there is no such file", "check the folder and the spelling")
    if path.is_dir():
        return DataError(uri, "is a folder, not a file", f"name the files in it: {uri.rstrip('/')}/*.tif")
    if not os.access(path, os.R_OK):
        return DataError(uri, "may not be read", "change its permissions")
    with path.open("rb") as stream:
        return DataError(uri, *_content(stream.read(512)))


def _web_refusal(uri: str) -> DataError:
    """Why a file on a web server cannot be opened: the server's own answer, or what it gave."""
    where = signing.bare(uri)
    try:
        return DataError(where, *_content(web.head(uri, 512)))
    except FileNotFoundError:
        return DataError(where, *web.refusal(404))
    except DataError as error:
        return error


def _content(head: bytes) -> tuple[str, str]:
    """What a file is that GDAL cannot open, by its first bytes: the fact and the remedy."""
    if not head:
        return "the file is empty", "fetch it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "is a web page (HTML), not a raster", "the download answered with a page, perhaps for a login: fetch the file itself"
    if text.startswith((b"<?xml", b"{")):
        return "is text (XML or JSON), not a raster", "the download may have answered with an error: look into it and fetch it again"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF whose header is truncated or damaged", "fetch or write the file again"
    return "is no raster that GDAL can read", "convert it to a GeoTIFF"
