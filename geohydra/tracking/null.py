"""Tracking that tells nobody."""

# ruff: noqa: ARG002 (the arguments are those of the protocols)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geohydra.tracking.protocols import Kind, Record, Shipped, Shipping, Status


class NullJournal:
    """Takes the same calls and keeps nothing."""

    def params(self, values: Mapping[str, str]) -> None:
        """Nothing."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float], *, step: int | None = None, time: float | None = None) -> None:
        """Nothing."""

    def artifact(self, path: Path, to: str = "") -> None:
        """Nothing."""

    def text(self, name: str, text: str) -> None:
        """Nothing."""

    def report(self, step: str, output_uri: str) -> None:
        """Nothing."""

    def model(self, uri: str, name: str, alias: str | None = None) -> None:
        """Nothing."""

    def promote(self, job: Path, uri: str, name: str, alias: str) -> None:
        """Nothing."""

    def view(
        self, *, sort: str, columns: Sequence[str], ascending: bool = False, table: str = "", page: str = "", picture: str = ""
    ) -> None:
        """Nothing."""

    def end(self, status: Status, error: str = "") -> None:
        """Nothing."""


class NullShipping:
    """Ships nothing."""

    def add(self, folder: Path) -> None:
        """Nothing."""

    def notices(self) -> list[str]:
        """None."""
        return []

    def wait(self, timeout: float) -> Shipped:
        """Done at once."""
        return Shipped()

    def stop(self) -> None:
        """Nothing."""


class NullTracking:
    """Tells nobody."""

    @property
    def address(self) -> str:
        """Nowhere."""
        return ""

    def open(
        self,
        folder: Path,
        *,
        name: str,
        kind: Kind,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        number: int | None = None,
        parent: Path | None = None,
    ) -> Record:
        """A record that keeps nothing."""
        return NullJournal()

    def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> Shipping:
        """Nothing to ship."""
        return NullShipping()
