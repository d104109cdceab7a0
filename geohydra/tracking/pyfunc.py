"""A model folder becomes an MLflow model too: a few text files beside the weights, no pickle, no code.

The files are written by hand, as MLflow documents them: importing MLflow costs three seconds, and a step has none to
spare. `mlflow.pyfunc.load_model(folder)` then finds `geohydra.serving.pyfunc`, which loads the weights.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import geohydra

_NEEDED = ("mlflow", "torch", "torchvision", "segmentation-models-pytorch", "timm", "numpy", "safetensors")

_OBJECTS = json.dumps(
    [{"type": "long", "name": "image", "required": True}, {"type": "string", "name": "class", "required": True}]
    + [{"type": "float", "name": "score", "required": True}]
    + [{"type": "double", "name": side, "required": True} for side in ("top", "left", "bottom", "right")]
)
"""The columns of a table of objects, as MLflow writes a signature."""


Form = tuple[str, Sequence[int]]
"""Type and shape of an array."""


def save(
    folder: Path,
    model_folder: Path,
    *,
    bands: Sequence[str],
    classes: Sequence[str],
    details: Mapping[str, Any] | None = None,
    finds: bool = False,
    inputs: Mapping[str, Form] | None = None,
    outputs: Form = ("uint8", (-1, -1, -1)),
) -> None:
    """Make `folder` an MLflow model with the content of a model folder, which may be the same folder.

    It takes `inputs` by name, without these pixels `(n, band, row, col)` float32 in the units of the source, and gives `outputs`, or where
    it `finds` objects a table of them; see geohydra.serving.pyfunc. `details` are further things worth knowing, such as the ground
    sampling distance.
    """
    import yaml

    if folder != model_folder:
        shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    given = _tensors(inputs or {"": ("float32", (-1, len(bands), -1, -1))})
    about = {"bands": list(bands), "classes": list(classes), **(details or {})}
    (folder / "MLmodel").write_text(
        yaml.safe_dump(_card(about, given, _OBJECTS if finds else _tensors({"": outputs})), sort_keys=False, allow_unicode=True)
    )
    (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n")
    (folder / "python_env.yaml").write_text(yaml.safe_dump(_environment(), sort_keys=False))
    (folder / "conda.yaml").write_text(yaml.safe_dump(_conda(), sort_keys=False))


def _card(about: Mapping[str, Any], inputs: str, outputs: str) -> dict[str, Any]:
    """What MLmodel holds; `inputs` and `outputs` are its signature. -1 is any number: of images, rows, columns."""
    return {
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "geohydra.serving.pyfunc",
                "python_version": platform.python_version(),
                "streamable": False,
            }
        },
        "metadata": dict(about),
        "mlflow_version": metadata.version("mlflow"),
        "signature": {
            "inputs": inputs,
            "outputs": outputs,
            "params": None,
        },
        "utc_time_created": datetime.now(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix("+00:00"),
    }


def _tensors(forms: Mapping[str, Form]) -> str:
    """As MLflow writes a signature; what has the name "" has none."""
    specs = [(name, {"dtype": dtype, "shape": list(shape)}) for name, (dtype, shape) in forms.items()]
    return json.dumps([({"name": name} if name else {}) | {"type": "tensor", "tensor-spec": spec} for name, spec in specs])


def _requirements() -> list[str]:
    """Versions as they are installed here, without the part that names a build."""
    return [f"geohydra=={geohydra.__version__}", *(f"{name}=={metadata.version(name).partition('+')[0]}" for name in _NEEDED)]


def _environment() -> dict[str, Any]:
    return {"python": platform.python_version(), "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}


def _conda() -> dict[str, Any]:
    python = f"python={platform.python_version()}"
    return {"name": "geohydra", "channels": ["conda-forge"], "dependencies": [python, "pip", {"pip": _requirements()}]}
