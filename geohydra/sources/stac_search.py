"""Items of a STAC catalogue that fit what is asked: links of files are followed, servers are searched page by page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from geohydra import storage, web
from geohydra.build import near
from geohydra.errors import ConfigError, DataError
from geohydra.sources.stac_criteria import CLOUD, Criteria, as_text

Document = Mapping[str, Any]
Progress = Callable[[int, int, str], None]

_AT_ONCE = 16
_PAGE = 100
_SEARCH = "item-search"
_ROOTS = ("catalog.json", "collection.json", "items.json")


@dataclass(frozen=True, slots=True)
class Found:
    """An item, and the address that its relative links are relative to."""

    item: Document
    address: str


def search(catalog: str, criteria: Criteria, progress: Progress) -> list[Found]:
    """All items that fit, sorted by collection and id; of each only one. Raises DataError where none does."""
    address = _document(storage.absolute(catalog))
    root = read(address)
    tally: Counter[str] = Counter()
    seen: set[str] = set()
    kept: dict[tuple[str, str], Found] = {}
    for found in _items(root, address, criteria, seen):
        misfit = criteria.misfit(found.item)
        tally[misfit or "kept"] += 1
        if misfit is None:
            kept.setdefault((str(found.item.get("collection") or ""), str(found.item["id"])), found)
            progress(len(kept), 0, str(found.item["id"]))
        if criteria.limit is not None and len(kept) >= criteria.limit:
            break
    if not kept:
        raise DataError(catalog, "no item fits what is asked", _why(tally, criteria, seen))
    return [kept[key] for key in sorted(kept)]


def _document(address: str) -> str:
    """The catalogue in a folder on this machine, where a folder is named."""
    if storage.is_local(address) and storage.local_path(address).is_dir():
        return next((f"{address}/{name}" for name in _ROOTS if storage.exists(f"{address}/{name}")), f"{address}/{_ROOTS[0]}")
    return address


def read(address: str, *, named_by: str = "") -> Document:
    """A STAC document. Raises DataError: not there, not given, or no STAC."""
    hint = f"{named_by} links to it" if named_by else "check source.catalog"
    try:
        content = storage.read_bytes(address)
    except FileNotFoundError as cause:
        raise DataError(address, "there is no STAC document at this address", hint) from cause
    except (PermissionError, IsADirectoryError, OSError) as cause:
        raise DataError(address, f"cannot be read ({cause})", hint) from cause
    if content.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise DataError(address, "is a web page (HTML), not STAC", "the server may ask for a login; name the address of the JSON document")
    try:
        document = json.loads(content)
    except ValueError as cause:
        raise DataError(address, f"is no JSON ({cause})", hint) from cause
    if not isinstance(document, dict) or not ({"type", "links", "stac_version"} & document.keys()):
        raise DataError(address, "is no STAC document", "it is a catalog, a collection, an item, or the landing page of an API")
    return document


def link(document: Document, relation: str) -> str | None:
    """The address of the first link of a relation."""
    return next((str(one["href"]) for one in document.get("links") or () if one.get("rel") == relation), None)


def resolve(href: str, base: str) -> str:
    """An address that may be relative to another one."""
    if not storage.is_local(href) or href.startswith("/"):
        return href
    if web.is_web(base):
        from urllib.parse import urljoin

        return urljoin(base, href)
    folder, name = base.rpartition("/")[0], href
    while name.startswith(("./", "../")):
        folder = folder.rpartition("/")[0] if name.startswith("../") else folder
        name = name.partition("/")[2]
    return f"{folder}/{name}"


def _items(root: Document, address: str, criteria: Criteria, seen: set[str]) -> Iterator[Found]:
    server, collection = _server(root, address)
    if server is not None:
        return _from_server(server, criteria, collection, seen)
    if criteria.filter is not None:
        raise ConfigError("source.filter", "only a STAC API can answer it, and this is a static catalogue", "use source.query")
    return _from_files(root, address, criteria, seen)


def _server(root: Document, address: str) -> tuple[str | None, str | None]:
    """The landing page of an API, and the collection that the address names, if any; None for files."""
    if any(_SEARCH in str(one) for one in root.get("conformsTo") or ()):
        return address, None
    landing = link(root, "root")
    if root.get("type") == "Collection" and link(root, "items") and landing and web.is_web(address) and not link(root, "item"):
        return resolve(landing, address), str(root.get("id"))
    return None, None


def _from_files(root: Document, address: str, criteria: Criteria, seen: set[str]) -> Iterator[Found]:
    """Level by level, the documents of one level at once; an item without a collection is of the one that links to it."""
    level: list[tuple[Document, str, str | None]] = [(root, address, None)]
    visited = {address}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while level:
            links: dict[str, tuple[str, str | None]] = {}
            for document, place, inside in level:
                yield from _held(document, place, inside)
                name = str(document.get("id")) if document.get("type") == "Collection" else inside
                links |= {to: (place, name) for to in _onward(document, place, criteria, seen) if to not in visited}
            visited |= links.keys()
            documents = pool.map(lambda pair: read(pair[0], named_by=pair[1][0]), links.items())
            level = [(document, to, name) for document, (to, (_, name)) in zip(documents, links.items(), strict=True)]


def _held(document: Document, place: str, inside: str | None) -> Iterator[Found]:
    kind = document.get("type")
    if kind == "Feature":
        yield Found({"collection": inside, **document}, place)
    elif kind == "FeatureCollection":
        yield from (Found(item, place) for item in document.get("features") or ())


def _onward(document: Document, place: str, criteria: Criteria, seen: set[str]) -> Iterator[str]:
    """Where a catalogue or a collection leads; items of collections that nobody asked for are not looked at."""
    if document.get("type") not in ("Catalog", "Collection"):
        return
    wanted = True
    if document["type"] == "Collection":
        seen.add(str(document.get("id")))
        wanted = not criteria.collections or document.get("id") in criteria.collections
    for one in document.get("links") or ():
        if one.get("rel") == "child" or (one.get("rel") == "item" and wanted):
            yield resolve(str(one["href"]), place)


def _from_server(address: str, criteria: Criteria, collection: str | None, seen: set[str]) -> Iterator[Found]:
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    try:
        io = StacApiIO(max_retries=web.retrying(web.retries()))
        client = Client.open(address, stac_io=io, timeout=web.timeout())
        for page in _pages(client, criteria, collection):
            yield from (Found(item, link(item, "self") or address) for item in page)
        if criteria.collections:
            seen |= {str(one.id) for one in client.get_collections()}
    except APIError as cause:
        raise _refusal(address, cause) from None


def _pages(client: Any, criteria: Criteria, collection: str | None) -> Iterator[Sequence[Document]]:
    """Until the server has no more, or only repeats itself."""
    known: set[tuple[str, str]] = set()
    for page in client.search(**_arguments(client, criteria, collection)).pages_as_dicts():
        items = page.get("features") or []
        told = {(str(item.get("collection")), str(item.get("id"))) for item in items}
        if items and told <= known:
            raise DataError(client.self_href, "the server gives the same page of items again and again", "tell who runs it")
        known |= told
        yield items


def _arguments(client: Any, criteria: Criteria, collection: str | None) -> dict[str, Any]:
    """What the server is asked. What it does not understand is left out: every item is looked at once more here."""
    asked: dict[str, Any] = {"limit": min(_PAGE, criteria.limit or _PAGE)}
    if criteria.collections or collection:
        asked["collections"] = list(criteria.collections) or [collection]
    if criteria.area is not None:
        asked["intersects"] = dict(criteria.area)
    if criteria.interval is not None:
        asked["datetime"] = as_text(criteria.interval)
    query = {name: dict(pairs) for name, pairs in criteria.query.items()}
    if criteria.max_cloud is not None:
        query.setdefault(CLOUD, {})["lte"] = criteria.max_cloud
    if query and client.conforms_to("QUERY"):
        asked["query"] = query
    if criteria.filter is not None:
        if not client.conforms_to("FILTER"):
            raise ConfigError("source.filter", "this API does not understand CQL2 filters", "use source.query")
        asked |= {"filter": criteria.filter, "filter_lang": "cql2-text" if isinstance(criteria.filter, str) else "cql2-json"}
    return asked


def _refusal(address: str, cause: Any) -> DataError:
    status = getattr(cause, "status_code", None)
    if status is None:
        return DataError(address, *web.unanswered(cause))
    if status == 400:
        said = " ".join(str(cause).split())[:200]
        return DataError(address, f"the server does not understand the search (HTTP 400: {said})", "check source.query and source.filter")
    return DataError(address, *web.refusal(status))


def _why(tally: Mapping[str, int], criteria: Criteria, seen: set[str]) -> str:
    """Which key of the config left out how many, and collections that there are."""
    missing = [name for name in criteria.collections if seen and name not in seen]
    if missing:
        return f"there is no collection {missing[0]!r}, {near(missing[0], seen)}"
    left = ", ".join(f"{count} by source.{key}" for key, count in tally.items() if key != "kept")
    if left:
        return f"left out: {left}"
    return (
        "the server found nothing: widen source.area, source.time or source.max_cloud"
        if criteria != Criteria()
        else "the catalogue is empty"
    )
