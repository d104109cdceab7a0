"""Weights to begin a training with: a file of tensors by path or URI, never a pickle of objects."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from geohydra.errors import ConfigError, DataError
from geohydra.models.torchvision_names import renamed
from geohydra.storage import fetch

Weights = Mapping[str, torch.Tensor]

WHERE = "model.weights"

HUB = "hf-hub:"
"""Leads the name of a repository of the Hugging Face hub: `hf-hub:timm/resnet18.a1_in1k`."""

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def is_place(weights: str) -> bool:
    """Whether this names a file or folder, and not weights that a library knows by name."""
    return "/" in weights or weights.endswith((".safetensors", ".pt", ".pth", ".ckpt", ".bin"))


def load_start(network: nn.Module, uri: str) -> None:
    """Put weights into a network: of a whole one, of its encoder alone, or of a detector of torchvision.

    The first layer is adapted to the bands; layers of another shape, such as a head for other classes, stay as they were. What was put in
    is told by `started`. Raises ConfigError where hardly anything fits.
    """
    known = network.state_dict()
    given = _named_alike(read_weights(uri), known)
    adapted = {name: _adapt(value, known[name]) for name, value in given.items() if name in known}
    fitting = {name: value for name, value in adapted.items() if value.shape == known[name].shape}
    encoder = [name for name in known if name.startswith("encoder.")] or list(known)
    found = sum(name in fitting for name in encoder)
    clashes = sum(name in adapted and name not in fitting for name in encoder) if encoder[0].startswith("encoder.") else 0
    if 2 * found < len(encoder) or _CLASHES * clashes > len(encoder):
        problem = f"{uri} is for another network: {found} of the encoder's {len(encoder)} arrays fit"
        raise ConfigError(WHERE, problem, "choose the architecture and the encoder that it was trained with")
    network.load_state_dict(fitting, strict=False)
    setattr(network, _TOLD, _told(uri, fitting, known))


def begun(network: nn.Module, weights: str | None) -> nn.Module:
    """A network of a kind that nobody publishes weights of, with those of a file where one is named. Raises ConfigError."""
    if weights is None:
        return network
    if not is_place(weights):
        problem = f"nobody publishes the weights {weights!r} of this network"
        raise ConfigError(WHERE, problem, "null begins at random; a path or URI names a file of weights")
    load_start(network, weights)
    return network


def started(network: nn.Module) -> list[str]:
    """What a network, and the networks in it, began with: a sentence for each file."""
    return [str(told) for module in network.modules() if (told := getattr(module, _TOLD, None))]


_CLASHES = 10
"""Of so many arrays of an encoder one may have another shape: other encoders of the same family share most."""
_TOLD = "began_with"
_NAMED = 6


def _told(uri: str, fitting: Weights, known: Weights) -> str:
    """How much of each part of a network was in a file, and what is new."""
    counts: dict[str, list[int]] = {}
    for name in known:
        if not name.endswith("num_batches_tracked"):
            count = counts.setdefault(name.partition(".")[0], [0, 0])
            count[0] += name in fitting
            count[1] += 1
    fresh = dict.fromkeys(name.rpartition(".")[0] for name in known if name not in fitting and not name.endswith("num_batches_tracked"))
    parts = ", ".join(f"{found} of {whole} arrays of {part}" for part, (found, whole) in counts.items())
    more = f" and {len(fresh) - _NAMED} more" if len(fresh) > _NAMED else ""
    rest = f"; new are {', '.join(list(fresh)[:_NAMED])}{more}" if fresh else ""
    return f"begins with {uri}: {parts}{rest}"


def read_weights(uri: str) -> Weights:
    """The tensors of a safetensors file, of a torch file of plain tensors, of a model folder, or of a repository of a hub."""
    try:
        path = _from_hub(uri.removeprefix(HUB)) if uri.startswith(HUB) else fetch(uri)
        path = path / "weights.safetensors" if path.is_dir() else path
        return load_file(path) if path.suffix == ".safetensors" else _read_torch(path)
    except FileNotFoundError as cause:
        raise ConfigError(WHERE, f"there is no file {uri}") from cause
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as cause:
        reason = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
        hint = "objects are never loaded from a file: save a state dict, best as safetensors"
        raise DataError(uri, f"it holds no plain weights ({reason})", hint) from cause


def _from_hub(repository: str) -> Path:
    """The file of weights of a repository: from the cache of the hub's client, else downloaded. Raises ConfigError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    causes: list[Exception] = []
    for name in _HUB_FILES:
        try:
            return Path(hf_hub_download(repository, name))
        except (OSError, EntryNotFoundError, ValueError) as cause:
            causes.append(cause)
    reason = str(causes[0]).splitlines()[0][:200]
    hint = f"one that is reached, with a file {' or '.join(_HUB_FILES)}; a path or URI names a file of weights"
    raise ConfigError(WHERE, f"{HUB}{repository} cannot be had ({reason})", hint) from causes[0]


def _read_torch(path: Path) -> Weights:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise DataError(str(path), "it holds no state dict", "save one with torch.save(network.state_dict(), path)")
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _named_alike(weights: Weights, known: Weights) -> Weights:
    """The weights under the names of the network, whatever stands before them: take what fits best."""
    plain = {name.removeprefix("module.").removeprefix("model.").removeprefix("network."): value for name, value in weights.items()}
    choices: list[Weights] = [
        *(weights, plain),
        *({f"{led}.{name}": value for name, value in plain.items()} for led in ("encoder", "body")),
        *(_flattened(plain, known, led) for led in ("encoder.model.", "encoder.")),
        renamed(plain, known),
    ]
    return max(choices, key=lambda choice: sum(name in known for name in choice))


def _flattened(weights: Weights, known: Weights, led: str) -> Weights:
    """As timm names an encoder whose stages were taken apart: `stages.0.blocks` becomes `encoder.model.stages_0.blocks`."""
    ours = {name.removeprefix(led).replace(".", "_"): name for name in known if name.startswith(led)}
    return {ours.get(name.replace(".", "_"), name): value for name, value in weights.items()}


def _adapt(value: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A convolution's weights for another number of bands: its own bands in turn, scaled to the same sum."""
    fits = value.ndim == wanted.ndim >= 4 and value.shape[0] == wanted.shape[0] and value.shape[2:] == wanted.shape[2:]
    if not fits or value.shape[1] == wanted.shape[1]:
        return value
    places = torch.arange(wanted.shape[1]) % value.shape[1]
    return value[:, places] * (value.shape[1] / wanted.shape[1])
