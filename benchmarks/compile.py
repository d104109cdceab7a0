"""How long compiling takes, and how much of a cluster's limits the files take: the default, 64 shards, a grid of 64 jobs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from _measure import Measured, measure_once, small

ROOT = Path(__file__).resolve().parents[1]
KUBERNETES = ("hardware=gpu", "+cluster.secret_env.AWS_SECRET_ACCESS_KEY=store-keys/secret", "cluster.scratch.size=50Gi")
SHARDS = tuple(f"pipeline.shards.{stage}=64" for stage in ("ingest", "chip", "predict", "evaluate"))
GRID = ("-m", f"train.lr={','.join(f'{rate / 1000:g}' for rate in range(1, 17))}", "loss=dice,focal", "model=unet,fpn")

CASES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("the default", (), 3.0),
    ("the default with Kubernetes settings", KUBERNETES, 3.0),
    ("64 shards of 8 scenes, and a condition", ("pipeline.shards.predict=64", "source.scenes=512", "deploy.when='test/iou >= 0.7'"), 10.0),
    ("the same, four steps in 64 shards each", (*SHARDS, "source.scenes=512", "deploy.when='test/iou >= 0.7'"), 10.0),
    ("the same with Kubernetes settings", (*SHARDS, *KUBERNETES, "source.scenes=512"), 10.0),
    ("a grid of 64 jobs", GRID, 10.0),
    ("a grid of 64 jobs with Kubernetes settings", (*GRID, *KUBERNETES), 10.0),
)


def main() -> int:
    """A row a case: seconds of a fresh process, steps, bytes of what is limited. 0 when all are within their seconds (of CPU)."""
    cases = CASES[:2] if small(__doc__ or "") else CASES
    columns = ("CPU s", "wall s", "at most", "steps", "largest graph", "largest step", "configs", "workflow")
    print(f"{'case':<43}", *(f"{column:>13}" for column in columns))
    with tempfile.TemporaryDirectory() as folder:
        quick = [row(name, words, limit, Path(folder)) for name, words, limit in cases]
    return 0 if all(quick) else 1


def row(name: str, words: tuple[str, ...], limit: float, folder: Path) -> bool:
    """Compile, print, and say whether it was quick enough."""
    script, told = folder / "run.py", folder / "told.txt"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom geohydra.cli import main\nsys.exit(main(sys.argv[1:]))\n")
    place = [f"store={folder}/store", "tracking=none", "-o", str(folder / "pipeline.yaml")]

    def call() -> None:
        with told.open("w") as stream:
            subprocess.run([sys.executable, str(script), "compile", *words, *place], cwd=folder, check=True, stdout=stream)

    took: Measured = measure_once(call)
    lines = told.read_text().splitlines()
    sizes = [line.rsplit(maxsplit=3)[1] for line in lines[-4:]]
    steps = lines[0].partition(": ")[2].split()[0]
    figures = (f"{took.cpu:.1f}", f"{took.wall:.1f}", f"{limit:.0f}", steps, *sizes)
    print(f"{name:<43}", *(f"{figure:>13}" for figure in figures), "" if took.cpu <= limit else "MISSED", flush=True)
    return took.cpu <= limit


if __name__ == "__main__":
    sys.exit(main())
