"""Training can begin with weights from a file, whatever its bands and classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from geohydra.errors import ConfigError, DataError
from geohydra.models.classifier import Classifier
from geohydra.models.clips import ClipClassifier
from geohydra.models.coarse import EncoderHead
from geohydra.models.detector import FasterRcnn, Fcos, MaskRcnn, RetinaNet
from geohydra.models.series import Ltae, PixelSet, SharedEncoder, TempCnn, Utae
from geohydra.models.siamese import Siamese
from geohydra.models.smp import SmpModel
from geohydra.models.starting import started


def make(weights: str | None = None, *, channels: int = 3, classes: int = 2, encoder: str = "mobilenet_v2") -> torch.nn.Module:
    return SmpModel(encoder=encoder, weights=weights).build(channels=channels, classes=classes)


def first(network: torch.nn.Module) -> torch.Tensor:
    return next(value for value in network.parameters() if value.ndim == 4)


@pytest.fixture
def source() -> torch.nn.Module:
    torch.manual_seed(1)
    return make()


@pytest.fixture
def whole(tmp_path: Path, source: torch.nn.Module) -> str:
    save_file(source.state_dict(), tmp_path / "whole.safetensors")
    return str(tmp_path / "whole.safetensors")


def test_a_whole_network_is_loaded(whole, source):
    loaded = make(whole).state_dict()

    assert all(torch.equal(value, loaded[name]) for name, value in source.state_dict().items())


def test_a_model_folder_is_loaded(whole, source):
    Path(whole).rename(Path(whole).with_name("weights.safetensors"))

    assert torch.equal(first(make(str(Path(whole).parent))), first(source))


def test_an_encoder_alone_is_loaded(tmp_path, source):
    torch.save(source.encoder.state_dict(), tmp_path / "encoder.pth")

    assert torch.equal(first(make(str(tmp_path / "encoder.pth"))), first(source))


def test_a_state_dict_below_a_key_with_a_prefix_is_loaded(tmp_path, source):
    state = {f"model.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "kept.ckpt")

    assert torch.equal(first(make(str(tmp_path / "kept.ckpt"))), first(source))


def test_the_first_layer_is_adapted_to_other_bands(whole, source):
    adapted, given = first(make(whole, channels=5)), first(source)

    torch.testing.assert_close(adapted, given[:, [0, 1, 2, 0, 1]] * (3 / 5))


def test_a_head_for_other_classes_stays_as_it_was_made(whole, source):
    loaded = make(whole, classes=4)

    assert loaded.segmentation_head[0].weight.shape[0] == 4
    assert torch.equal(first(loaded), first(source))


def test_weights_of_another_network_are_refused(whole):
    with pytest.raises(ConfigError, match="is for another network"):
        make(whole, encoder="resnet18")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        make(str(tmp_path / "none.safetensors"))


def test_a_file_of_objects_is_never_loaded(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "object.pt")

    with pytest.raises(DataError, match="objects are never loaded from a file"):
        make(str(tmp_path / "object.pt"))


def test_a_file_that_is_no_weights_is_told(tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"noise")

    with pytest.raises(DataError, match="it holds no plain weights"):
        make(str(tmp_path / "noise.safetensors"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, which is offline, with one repository of weights of timm."""
    from huggingface_hub import constants

    torch.manual_seed(1)
    snapshot = tmp_path / "hub" / "models--someone--resnet10t" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot / "model.safetensors"


FAMILIES = {
    "smp": lambda weights: SmpModel(encoder="tu-resnet10t", weights=weights),
    "classifier": lambda weights: Classifier(encoder="resnet10t", weights=weights),
    "coarse": lambda weights: EncoderHead(encoder="tu-resnet10t", weights=weights),
    "siamese": lambda weights: Siamese(encoder="tu-resnet10t", weights=weights),
    "detector": lambda weights: Fcos(encoder="resnet10t", weights=weights),
    "shared encoder of a series": lambda weights: SharedEncoder(encoder="tu-resnet10t", weights=weights),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", ["hub", "file", "uri"])
def test_every_model_family_starts_from_a_hub_or_a_file_with_other_bands(hub: Path, family: str, place: str) -> None:
    given = {"hub": "hf-hub:someone/resnet10t", "file": str(hub), "uri": hub.as_uri()}[place]
    channels = 8 if family == "siamese" else 4

    network = FAMILIES[family](given).build(channels=channels, classes=3)

    stored = load_file(hub)
    found = {name.rpartition("model.")[2].removeprefix("encoder."): value for name, value in network.state_dict().items()}
    assert torch.equal(found["layer3.0.conv1.weight"], stored["layer3.0.conv1.weight"])
    stem = stored["conv1.0.weight"]
    ours = next(value for name, value in found.items() if name.endswith(("conv1.0.weight", "conv1_0.weight")))
    assert ours.shape[1] == 4
    assert torch.allclose(ours.sum(1), stem[:, [0, 1, 2, 0]].sum(1) * 3 / 4, atol=1e-6)


def test_stages_that_timm_takes_apart_are_found(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model("convnext_atto", num_classes=5)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")

    network = SmpModel(encoder="tu-convnext_atto", depth=4, weights=str(tmp_path / "whole.safetensors")).build(channels=3, classes=2)

    assert torch.equal(network.state_dict()["encoder.model.stages_1.blocks.0.gamma"], whole.state_dict()["stages.1.blocks.0.gamma"])


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_cannot_be_reached_are_told(hub: Path, family: str) -> None:
    for name in ("hf-hub:someone/else", "imagenet"):
        with pytest.raises(ConfigError, match=r"model.weights: .*(someone/else|'imagenet').* cannot be had"):
            FAMILIES[family](name).build(channels=6, classes=3)


def test_a_tag_that_timm_does_not_know_is_told_with_others() -> None:
    with pytest.raises(ConfigError, match=r"model.weights: timm has no weights 'a9' for resnet18; there are .*a1_in1k"):
        Classifier(encoder="resnet18", weights="a9").build(channels=3, classes=2)


def test_stages_of_a_detector_that_timm_takes_apart_are_found(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model("convnext_atto", num_classes=5)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")

    network = Fcos(encoder="convnext_atto", weights=str(tmp_path / "whole.safetensors")).build(channels=4, classes=2)

    assert torch.equal(network.state_dict()["encoder.stages_1.blocks.0.gamma"], whole.state_dict()["stages.1.blocks.0.gamma"])


SERIES = {
    "ltae": lambda weights: Ltae(weights=weights),
    "tempcnn": lambda weights: TempCnn(weights=weights),
    "utae": lambda weights: Utae(widths=[8, 16], weights=weights),
    "pixel_set": lambda weights: PixelSet(weights=weights),
    "small clips": lambda weights: ClipClassifier(architecture="small", weights=weights),
}


@pytest.mark.parametrize("family", SERIES)
def test_networks_of_series_start_from_what_was_learnt_for_other_classes(tmp_path: Path, family: str) -> None:
    torch.manual_seed(1)
    first = SERIES[family](None).build(channels=3, classes=5)
    save_file({f"network.{name}": value.clone() for name, value in first.state_dict().items()}, tmp_path / "weights.safetensors")

    network = SERIES[family](str(tmp_path / "weights.safetensors")).build(channels=3, classes=2)

    same = {name: value for name, value in first.state_dict().items() if value.shape == network.state_dict()[name].shape}
    assert len(same) >= len(first.state_dict()) - 2
    assert all(torch.equal(network.state_dict()[name], value) for name, value in same.items())
    (told,) = started(network)
    assert "weights.safetensors" in told
    assert "; new are " in told


@pytest.mark.parametrize("family", SERIES)
def test_names_of_weights_that_nobody_publishes_are_refused(family: str) -> None:
    with pytest.raises(ConfigError, match="nobody publishes"):
        SERIES[family]("imagenet").build(channels=3, classes=2)


def test_a_video_network_of_torchvision_starts_one_of_other_bands(tmp_path: Path) -> None:
    from torchvision.models.video import r3d_18

    torch.manual_seed(1)
    whole = r3d_18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "r3d.pth")

    network = ClipClassifier(architecture="r3d_18", weights=str(tmp_path / "r3d.pth")).build(channels=5, classes=2)

    found, given = network.state_dict(), whole.state_dict()
    torch.testing.assert_close(found["body.stem.0.weight"], given["stem.0.weight"][:, [0, 1, 2, 0, 1]] * (3 / 5))
    assert torch.equal(found["body.layer4.1.conv2.0.weight"], given["layer4.1.conv2.0.weight"])


COCO = {
    "fasterrcnn_resnet50_fpn": (FasterRcnn, {"anchors": [[32], [64], [128], [256]], "ratios": [0.5, 1.0, 2.0]}),
    "maskrcnn_resnet50_fpn": (MaskRcnn, {"anchors": [[32], [64], [128], [256]], "ratios": [0.5, 1.0, 2.0]}),
    "retinanet_resnet50_fpn_v2": (RetinaNet, {}),
    "fcos_resnet50_fpn": (Fcos, {"convolutions": 4}),
}
_STAYS = {
    "fasterrcnn_resnet50_fpn": "head.looking.box_predictor.cls_score.weight",
    "maskrcnn_resnet50_fpn": "head.looking.mask_predictor.mask_fcn_logits.weight",
    "retinanet_resnet50_fpn_v2": "head.net.head.classification_head.cls_logits.weight",
    "fcos_resnet50_fpn": "head.naming.cls_logits.weight",
}
_GOES = {
    "fasterrcnn_resnet50_fpn": {
        "head.proposing.head.cls_logits.weight": "rpn.head.cls_logits.weight",
        "head.looking.box_head.fc6.weight": "roi_heads.box_head.fc6.weight",
    },
    "maskrcnn_resnet50_fpn": {"head.looking.mask_head.2.0.weight": "roi_heads.mask_head.2.0.weight"},
    "retinanet_resnet50_fpn_v2": {"head.net.head.regression_head.conv.3.0.weight": "head.regression_head.conv.3.0.weight"},
    "fcos_resnet50_fpn": {
        "head.naming.conv.0.weight": "head.classification_head.conv.0.weight",
        "head.placing.bbox_reg.weight": "head.regression_head.bbox_reg.weight",
    },
}


@pytest.mark.parametrize("name", COCO)
def test_a_detector_of_torchvision_starts_ours_with_other_bands_and_classes(tmp_path: Path, name: str) -> None:
    from torchvision.models import detection

    torch.manual_seed(1)
    given = getattr(detection, name)(weights=None, weights_backbone=None).state_dict()
    save_file({key: value.contiguous() for key, value in given.items()}, tmp_path / "coco.safetensors")
    kind, further = COCO[name]
    model = kind(encoder="resnet50", strides=[4, 8, 16, 32], channels=256, weights=str(tmp_path / "coco.safetensors"), **further)

    network = model.build(channels=4, classes=2)

    found = network.state_dict()
    assert torch.equal(found["encoder.layer4.2.bn3.running_var"], given["backbone.body.layer4.2.bn3.running_var"])
    torch.testing.assert_close(found["encoder.conv1.weight"], given["backbone.body.conv1.weight"][:, [0, 1, 2, 0]] * (3 / 4))
    last = max(int(key.split(".")[3]) for key in given if key.startswith("backbone.fpn.inner_blocks"))
    for part in ("inner", "layer"):
        assert torch.equal(found[f"pyramid.mixing.{part}_blocks.3.0.weight"], given[f"backbone.fpn.{part}_blocks.{last}.0.weight"])
    for ours, theirs in _GOES[name].items():
        assert torch.equal(found[ours], given[theirs]), ours
    (told,) = started(network)
    assert _STAYS[name].rpartition(".")[0] in told


def test_a_pyramid_that_is_normalised_is_left_out(tmp_path: Path) -> None:
    from torchvision.models import detection

    given = detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict()
    torch.save(given, tmp_path / "v2.pth")

    network = FasterRcnn(encoder="resnet50", channels=256, weights=str(tmp_path / "v2.pth")).build(channels=3, classes=2)

    (told,) = started(network)
    assert "0 of 12 arrays of pyramid" in told
    assert torch.equal(network.state_dict()["encoder.layer3.0.conv1.weight"], given["backbone.body.layer3.0.conv1.weight"])


def test_a_detector_of_another_encoder_is_refused(tmp_path: Path) -> None:
    from torchvision.models import detection

    torch.save(detection.fcos_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), tmp_path / "coco.pth")

    with pytest.raises(ConfigError, match="is for another network"):
        Fcos(encoder="resnet18", weights=str(tmp_path / "coco.pth")).build(channels=3, classes=1)
