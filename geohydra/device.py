"""Where a network computes: the device that a hardware profile asks for, as this machine has it."""

from __future__ import annotations

from geohydra.errors import ConfigError


def choose_device(wanted: str) -> str:
    """`auto` is the first CUDA device where there is one, else the CPU. Raises ConfigError for a device that is not here."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = wanted.split(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("hardware.gpu.device", f"{wanted!r} is not on this machine", "hardware=cpu runs without a GPU")
    if kind not in {"cpu", "cuda"}:
        raise ConfigError("hardware.gpu.device", f"{wanted!r} is no device that is known", "known are auto, cpu, cuda and cuda:N")
    return wanted
