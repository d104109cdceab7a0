"""Networks of timm that answer once for a whole image, with any number of bands and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(ge=0, lt=1)]


class Classifier:
    """An encoder of timm with a linear head.

    `encoder`: any name that timm knows (`resnet18`, `convnext_tiny`, `efficientnet_b0`, `vit_small_patch16_224`). `weights`: null begins at
    random; `imagenet`, or a tag of timm such as `a1_in1k`, loads what timm publishes; a path or URI loads a state dict, and
    `hf-hub:OWNER/NAME` one of that hub. Whatever it is, the first layer is adapted to the bands. `dropout`: share of features that
    are left out before the head while training.
    """

    stride = 1
    answers = "image"
    """What one answer is of: a whole image."""

    def __init__(
        self,
        *,
        encoder: Annotated[str, Field(min_length=1)] = "resnet18",
        weights: Annotated[str, Field(min_length=1)] | None = None,
        dropout: Share = 0.0,
    ) -> None:
        self.encoder, self.weights, self.dropout = encoder, weights, dropout

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes)`. Raises ConfigError for an unknown encoder or weights."""
        import timm

        from geohydra.models.starting import is_place, load_start

        named = self.weights is not None and not is_place(self.weights)
        tag = "" if not named or self.weights == "imagenet" else f".{self.weights}"
        try:
            network: torch.nn.Module = timm.create_model(
                self.encoder + tag, pretrained=named, in_chans=channels, num_classes=classes, drop_rate=self.dropout
            )
        except RuntimeError as cause:
            tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{self.encoder}.*")]
            if tag and tags:
                hint = f"there are {', '.join(tags[:8])}"
                raise ConfigError("model.weights", f"timm has no weights {self.weights!r} for {self.encoder}", hint) from cause
            known = ", ".join(timm.list_models(f"*{self.encoder[:6]}*")[:5]) or "resnet18, convnext_tiny, efficientnet_b0"
            raise ConfigError("model.encoder", f"timm has no {self.encoder + tag!r}", f"such as {known}") from cause
        except OSError as cause:
            hint = "null begins at random; a path or URI names a file of weights"
            raise ConfigError("model.weights", f"{self.weights!r} for {self.encoder} cannot be had ({cause})", hint) from cause
        if self.weights is not None and not named:
            load_start(network, self.weights)
        return network
