"""Runs tasks on their embedded worlds and writes the gallery page: a picture, a score and its trivial baseline for each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent.parent / "docs"
GEOHYDRA = Path(sys.executable).with_name("geohydra")
WIDTH = 1200
TASKS = {
    "classification": ("Which class is each part of a scene of?", "accuracy", "accuracy", "baseline_accuracy"),
    "detection": ("Where are the objects?", "AP at IoU 0.5", "map50", "baseline_map50"),
    "semantic_segmentation": ("Which class is each pixel of?", "mean IoU", "iou", "baseline_iou"),
    "instance_segmentation": (
        "Where are the objects, and what are their outlines?",
        "mask AP at IoU 0.5",
        "mask_map50",
        "baseline_mask_map50",
    ),
    "coarse_segmentation": ("Which class prevails in each cell of many pixels?", "mean IoU", "iou", "baseline_iou"),
    "time_series": ("What grows where, told from a season of images?", "mean IoU", "iou", "baseline_iou"),
    "change_detection": ("What has changed between two images?", "F1 of change", "change_f1", "baseline_change_f1"),
    "regression": (
        "What is the value of each pixel: here near infrared, told from red, green and blue?",
        "root mean square error",
        "rmse",
        "baseline_rmse",
    ),
    "video": ("What moves, and where to?", "HOTA", "hota", "baseline_hota"),
    "video_clips": ("What happens in each part of a video?", "accuracy", "accuracy", "baseline_accuracy"),
}


def main(asked: list[str]) -> None:
    """Run the tasks that are asked for, all by default; the numbers of others stay as they are."""
    known = DOCS / "images" / "gallery.json"
    results = json.loads(known.read_text()) if known.exists() else {}
    for task in asked or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            results[task] = run(task, Path(folder))
        known.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (DOCS / "gallery.md").write_text(page(results))


def run(task: str, folder: Path) -> dict[str, float]:
    """One task with nothing else said; its picture goes to the docs."""
    subprocess.run([GEOHYDRA, f"task={task}", "tracking=none", "name=gallery"], cwd=folder, check=True)
    [made] = (folder / "outputs/runs").glob("*-gallery")
    found = json.loads((made / "results/evaluate/metrics.json").read_text())["metrics"]
    _, _, score, baseline = TASKS[task]
    save(pictures(made)[0], DOCS / "images" / f"{task}.png")
    return {"score": found[f"test/{score}"], "baseline": found[f"test/{baseline}"]}


def pictures(made: Path) -> list[Path]:
    """Scenes beside their truth, the one that shows most first, where the evaluation draws them; else what predict draws."""
    maps = sorted((made / "results/evaluate/report/figures").glob("map_*.png"), key=lambda path: -path.stat().st_size)
    return maps or sorted((made / "results/predict").glob("*/quicklook.png"))


def save(picture: Path, target: Path) -> None:
    """A picture small enough for a page."""
    with Image.open(picture) as image:
        height = round(image.height * WIDTH / image.width)
        image.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS).quantize(128).save(target, optimize=True)


def page(results: dict[str, dict[str, float]]) -> str:
    """The gallery in Markdown."""
    rows = [part for task in TASKS if task in results for part in section(task, results[task])]
    head = [
        "# Gallery",
        "",
        "Each task on its embedded world, with nothing said but `geohydra task=NAME`: small networks that start from random weights, on",
        "two cores without a GPU. The score is that of the test split, beside that of a trivial answer. `scripts/gallery` makes this page",
        "anew.",
        "",
    ]
    return "\n".join(head + rows)


def told(value: float) -> str:
    """Shares with three digits, numbers in the units of what is learnt without any."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def section(task: str, found: dict[str, float]) -> list[str]:
    """One task: its question, its picture, its score."""
    question, name, _, _ = TASKS[task]
    line = f"`geohydra task={task}`: {name} **{told(found['score'])}** (trivial {told(found['baseline'])})."
    title = task.replace("_", " ").capitalize()
    return [f"## {title}", "", question, "", line, "", f"![{title} on the embedded world](images/{task}.png)", ""]


if __name__ == "__main__":
    main(sys.argv[1:])
