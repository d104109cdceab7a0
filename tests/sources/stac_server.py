"""A STAC API on loopback with items in memory, run by tests as a process of its own: `stac_server.py FOLDER`.

FOLDER holds `items.json` (a list of items) and what `/files/` serves. `POST /faults` makes the next requests go wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import attr
import uvicorn
from shapely.geometry import box, shape
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import create_get_request_model, create_post_request_model
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.query import QueryExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.errors import NotFoundError
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles

PAGE = 2
"""However many items are asked for, a page holds no more."""

_COMPARED = {
    "eq": lambda value, other: value == other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "startsWith": lambda value, other: value.startswith(other),
}


@attr.s
class Memory(BaseCoreClient):
    """Items of a list, a page at a time."""

    items: list[dict[str, Any]] = attr.ib(factory=list)

    def post_search(self, search_request: Any, **kwargs: Any) -> Any:
        found = [item for item in self.items if fits(item, search_request)]
        start = int(search_request.token or 0)
        page = found[start : start + min(PAGE, search_request.limit or PAGE)]
        following = start + len(page)
        links = []
        if following < len(found):
            url = str(kwargs["request"].url)
            body = {"token": str(following)}
            links.append({"rel": "next", "method": "POST", "href": url, "type": "application/geo+json", "body": body, "merge": True})
        return {"type": "FeatureCollection", "features": page, "links": links}

    def get_search(self, **kwargs: Any) -> Any:
        raise NotFoundError("only POST is served")

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Any:
        return next(item for item in self.items if (item["id"], item["collection"]) == (item_id, collection_id))

    def all_collections(self, **kwargs: Any) -> Any:
        names = sorted({item["collection"] for item in self.items})
        return {"collections": [self.get_collection(name, **kwargs) for name in names], "links": []}

    def get_collection(self, collection_id: str, **kwargs: Any) -> Any:
        if collection_id not in {item["collection"] for item in self.items}:
            raise NotFoundError(f"no collection {collection_id}")
        base = str(kwargs["request"].base_url)
        return {
            "type": "Collection",
            "id": collection_id,
            "stac_version": "1.0.0",
            "description": collection_id,
            "license": "other",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [{"rel": "root", "href": base}, {"rel": "items", "href": f"{base}collections/{collection_id}/items"}],
        }

    def item_collection(self, collection_id: str, **kwargs: Any) -> Any:
        return {"type": "FeatureCollection", "features": [item for item in self.items if item["collection"] == collection_id], "links": []}


def fits(item: dict[str, Any], asked: Any) -> bool:
    """Collections, place, time and properties."""
    told = item["properties"]
    if asked.collections and item["collection"] not in asked.collections:
        return False
    area = shape(json.loads(asked.intersects.model_dump_json())) if asked.intersects else box(*asked.bbox) if asked.bbox else None
    if area is not None and not area.intersects(shape(item["geometry"])):
        return False
    if asked.datetime and not in_time(told["datetime"], str(asked.datetime)):
        return False
    query = getattr(asked, "query", None) or {}
    return all(name in told and all(_COMPARED[how](told[name], other) for how, other in pairs.items()) for name, pairs in query.items())


def in_time(text: str, interval: str) -> bool:
    """Texts of one format sort as times do."""
    first, _, last = interval.partition("/")
    return (first in ("", "..") or text >= first[:19]) and (last in ("", "..") or text[:19] <= last[:19])


class Faults:
    """In front of the application: what was ordered goes wrong, and all requests are counted."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.orders: list[dict[str, Any]] = []
        self.seen: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/faults":
            body = (await receive()).get("body") or b""
            self.orders = json.loads(body) if body else self.orders
            await JSONResponse(self.seen)(scope, receive, send)
            return
        self.seen[path] += 1
        order = next((order for order in self.orders if path.startswith(order["path"]) and order["times"] > 0), None)
        if order is None:
            await self.app(scope, receive, send)
            return
        order["times"] -= 1
        await asyncio.sleep(order.get("delay", 0))
        if "status" in order:
            await JSONResponse({"description": "as ordered"}, status_code=order["status"])(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def application(folder: Path) -> Any:
    """The API, and the files of the folder."""
    extensions = [QueryExtension(), TokenPaginationExtension()]
    post = create_post_request_model(extensions)
    api = StacApi(
        settings=ApiSettings(enable_response_models=False),
        extensions=extensions,
        client=Memory(items=json.loads((folder / "items.json").read_text()), extensions=extensions),
        search_get_request_model=create_get_request_model(extensions),
        search_post_request_model=post,
    )
    api.app.mount("/files", StaticFiles(directory=folder))
    return Faults(api.app)


def main() -> None:
    """Serve on a free port, which is the first line that is printed."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    folder = Path(sys.argv[1])
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    items = folder / "items.json"
    items.write_text(items.read_text().replace("{server}", address))
    server = uvicorn.Server(uvicorn.Config(application(folder), log_level="error"))
    print(address, flush=True)
    os.set_inheritable(listening.fileno(), True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
