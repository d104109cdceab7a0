"""The state of a training as one file of plain tensors and JSON: nothing in it can run code when it is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file

_PLAIN = (bool, int, float, str, type(None))


class PlainCheckpoints(CheckpointIO):
    """Lets Lightning keep its checkpoints in this way; a file is replaced whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write what Lightning gathered."""
        save_tree(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Read it again, onto the CPU."""
        loaded: dict[str, Any] = load_tree(Path(path))
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a file."""
        Path(path).unlink(missing_ok=True)


def save_tree(tree: Any, path: Path) -> None:
    """Nested dicts, lists and tuples of numbers, text and tensors. Raises TypeError for anything else."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_encode(tree, tensors))
    scratch = path.with_name(f".{path.name}.part")
    save_file(tensors, scratch, metadata={"tree": text})
    os.replace(scratch, path)


def load_tree(path: Path) -> Any:
    """What `save_tree` wrote."""
    with safe_open(path, framework="pt") as stored:
        return _decode(json.loads(stored.metadata()["tree"]), stored)


def member(folder: Path, epoch: int) -> Path:
    """Where the weights of an epoch, from 0, lie that are among the best."""
    return folder / f"epoch-{epoch + 1}.safetensors"


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        kept = value.detach().cpu()
        tensors[name] = kept.contiguous().clone()
        return {"tensor": name, "last": kept.ndim == 4 and not kept.is_contiguous()}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, tensors), _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_encode(item, tensors) for item in value]}
    if type(value) not in _PLAIN:
        raise TypeError(f"a checkpoint holds plain values only, not {type(value)}")
    return value


def _decode(value: Any, stored: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        tensor: torch.Tensor = stored.get_tensor(value["tensor"])
        return tensor.contiguous(memory_format=torch.channels_last) if value["last"] else tensor
    if "dict" in value:
        return {_decode(key, stored): _decode(item, stored) for key, item in value["dict"]}
    if "tuple" in value:
        return tuple(_decode(item, stored) for item in value["tuple"])
    return [_decode(item, stored) for item in value["list"]]
