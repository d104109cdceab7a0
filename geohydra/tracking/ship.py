"""The shipper: a process that reads journals and tells MLflow. Run as `python -m geohydra.tracking.ship`.

It takes lines of JSON from its input: `{"add": FOLDER, "uri": ""}` and `{"finish": true}`, and writes lines of JSON:
`{"notice": TEXT}` and, as the last one, `{"done": {...}}`. An input that ends without `finish` means that the one who
started it is gone: it ships what there is, marks runs that nobody goes on with as killed, and ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra.tracking.client import connect, prepare_import, reason, settle
from geohydra.tracking.delivery import Delivery
from geohydra.tracking.protocols import Shipped

if TYPE_CHECKING:
    from mlflow import MlflowClient

_POLL = 0.25
_PAUSES = (2.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(slots=True)
class Store:
    """One tracking URI: its client once it was reached, and how long to leave it alone after a failure."""

    uri: str
    client: MlflowClient | None = None
    failures: int = 0
    again: float = 0.0
    problem: str = ""

    def failed(self, error: Exception) -> None:
        """Wait longer each time."""
        self.again = time.monotonic() + _PAUSES[min(self.failures, len(_PAUSES) - 1)]
        self.failures += 1
        self.problem = f"MLflow at {self.uri} cannot be reached: {reason(error)}"
        self.client = None

    def reached(self) -> MlflowClient:
        """The client, connected on first use and after a failure."""
        self.client = self.client or connect(self.uri)
        return self.client


@dataclass(slots=True)
class Fleet:
    """All journals that this process ships."""

    stores: dict[str, Store] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    orders: list[tuple[Path, str]] = field(default_factory=list)
    say: Callable[[Mapping[str, Any]], None] = print

    def tour(self) -> bool:
        """Ship once whatever can be shipped; whether anything was. Stores that just failed are left alone for a while."""
        self._take_orders()
        moved = False
        for delivery in self.deliveries:
            store = self.stores.setdefault(delivery.uri, Store(delivery.uri))
            if delivery.pending and time.monotonic() >= store.again:
                moved |= self._ship(delivery, store)
        return moved

    def _take_orders(self) -> None:
        """Journals that are there by now, and that no other process ships."""
        for folder, uri in list(self.orders):
            try:
                delivery = Delivery(folder, uri=uri)
            except (IndexError, KeyError, ValueError):
                continue
            if delivery.claim():
                self.deliveries.append(delivery)
                self.orders.remove((folder, uri))

    def _ship(self, delivery: Delivery, store: Store) -> bool:
        try:
            moved = delivery.ready and delivery.ship(store.reached())
        except Exception as error:
            traceback.print_exc()
            known = bool(store.problem)
            store.failed(error)
            if not known:
                self._notice(f"{store.problem}; the run goes on, all is kept in {delivery.folder}, and `geohydra sync` ships it later")
            return False
        if store.problem:
            self._notice(f"MLflow at {store.uri} answers again")
            store.problem, store.failures = "", 0
        return moved

    def _notice(self, text: str) -> None:
        self.say({"notice": text})

    def last_tours(self) -> None:
        """One more try for stores that failed, then on until nothing moves: a child may have waited for its parent."""
        for store in self.stores.values():
            store.again = 0.0
        while self.tour():
            continue

    def close(self) -> None:
        """Runs that nobody writes any more did not end by themselves."""
        reached = {uri: store.client for uri, store in self.stores.items() if store.client is not None}
        for delivery in self.deliveries:
            if delivery.uri in reached:
                with _logged():
                    delivery.close_abandoned(reached[delivery.uri])
        for uri in reached:
            settle(uri)

    def result(self) -> Shipped:
        """Counts, and the first problem in words."""
        whole = sum(delivery.cursor.whole for delivery in self.deliveries)
        refused = [text for delivery in self.deliveries for text in delivery.cursor.refused]
        problems = [store.problem for store in self.stores.values() if store.problem] + refused[:1]
        waiting = len(self.deliveries) + len(self.orders) - whole
        return Shipped(whole, waiting, problems[0] if problems else "", self._address())

    def _address(self) -> str:
        first = next((delivery for delivery in self.deliveries if delivery.cursor.run_id), None)
        if first is None or not first.uri.startswith("http"):
            return ""
        return f"{first.uri.rstrip('/')}/{first.cursor.link}"


def main() -> None:
    """Ship until told to finish, or until the one who started this is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    fleet = Fleet(say=Voice())
    prepare_import()
    finish, gone = False, False
    buffer = b""
    while not (finish or gone):
        if select.select([0], [], [], _POLL)[0]:
            chunk = os.read(0, 65536)
            gone = not chunk
            *lines, buffer = (buffer + chunk).split(b"\n")
            orders = [_obey(fleet, json.loads(line)) for line in lines]
            finish = any(orders)
        fleet.tour()
    fleet.last_tours()
    fleet.close()
    if finish:
        fleet.say({"done": asdict(fleet.result())})


def _obey(fleet: Fleet, command: Mapping[str, Any]) -> bool:
    if "add" in command:
        fleet.orders.append((Path(command["add"]), command.get("uri", "")))
    return "finish" in command


@contextmanager
def _logged() -> Iterator[None]:
    """What fails here is for the log only: everything is on disk, and can be shipped again."""
    try:
        yield
    except Exception:
        traceback.print_exc()


class Voice:
    """The way to the one who started this. MLflow prints, too: what it prints goes to the log."""

    def __init__(self) -> None:
        self._pipe = os.dup(1)
        os.dup2(2, 1)

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Say it, if anybody still listens."""
        with suppress(BrokenPipeError):
            os.write(self._pipe, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
