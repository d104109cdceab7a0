"""How long planning takes, and how much memory, with 100,000 scenes in a lock: `python benchmarks/many_scenes.py [--small]`.

Each kind of lock is planned in a process of its own: read the lock, check the config, plan, ask the store what it holds.
Limits: 10 s and 1 GB for 100,000 scenes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS, BYTES = 10.0, 1e9
_SOURCES = {
    "files": ["source=files", "source.images=s3://bucket/scenes/*.tif"],
    "stac": ["source=stac", "source.catalog=https://stac.example.org/v1"],
}
_PLAN = """
import json, resource, sys, time
began = time.perf_counter()
from geohydra.config.compose import compose
from geohydra.command.planning import plan_of, stored
plan, store = plan_of([compose(sys.argv[1:])])
stored(plan, store)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": time.perf_counter() - began, "bytes": peak, "steps": len(plan.steps)}))
"""


def main() -> None:
    """Print a line a kind of lock, and end with 1 where a limit is broken."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--small", action="store_true", help="a tenth of the scenes")
    count = 10_000 if flags.parse_args().small else 100_000
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        for kind, words in _SOURCES.items():
            lock = Path(folder) / f"{kind}.lock"
            write(lock, kind, words, count)
            found = plan([*words, f"lock={lock}", "task.classes=[building]", f"outputs={folder}/outputs"])
            seconds, size = found["seconds"], found["bytes"]
            print(
                f"{kind:<6} {count:,} scenes, lock of {lock.stat().st_size / 1e6:.0f} MB: planned in {seconds:.1f} s"
                f" ({seconds / SECONDS:.2f} of the limit), {size / 1e9:.2f} GB ({size / BYTES:.2f} of the limit)"
            )
            broken |= seconds > SECONDS or size > BYTES
    sys.exit(int(broken))


def write(path: Path, kind: str, words: list[str], count: int) -> None:
    """A lock of made-up files, as `geohydra lock` would write it."""
    from geohydra.config.compose import compose
    from geohydra.config.locking import Lock
    from geohydra.config.locking import write as write_lock
    from geohydra.types import LockEntry

    source: dict[str, Any] = compose([*words, "task.classes=[building]"]).config["source"]
    entries = [LockEntry(**entry) for entry in made_up(kind, count)]
    write_lock(Lock(source, tuple(entries)), str(path))


def made_up(kind: str, count: int) -> Iterator[dict[str, Any]]:
    """One file a scene, on a wide lattice."""
    for number in range(count):
        name = f"S2A_MSIL2A_{number:08d}"
        entry: dict[str, Any] = {"uri": f"s3://bucket/scenes/{name}.tif", "size": 100_000_000 + number, "etag": f"{number:032x}"}
        if kind == "stac":
            transform = [10.0, 0.0, 300_000.0 + number % 100 * 10_000, 0.0, -10.0, 5_000_000.0 + number // 100 * 1_000]
            grid = {"crs": "EPSG:32632", "transform": transform, "shape": [1024, 1024]}
            bands = {"bands": ["red", "green", "blue", "nir"], "indexes": [1, 2, 3, 4], "dtype": ["uint16"], "nodata": 0}
            place = {"id": name, "collection": "sentinel-2-l2a", "href": f"https://stac.example.org/v1/items/{name}", "asset": "image"}
            entry |= {"time": "2024-06-01T10:00:00Z", "item": {**place, "scene": name, "grid": grid, **bands}}
        yield entry


def plan(words: list[str]) -> dict[str, Any]:
    """Seconds and bytes of one planning, in a fresh process."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", _PLAN, *words], check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
