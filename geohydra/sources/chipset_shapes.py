"""Boxes and outlines on chips: from COCO, tables and GeoJSON, in the pixels of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geohydra.errors import DataError
from geohydra.sources.chipset_formats import ChipLabels, Told
from geohydra.sources.chipset_tables import ImageNames, column, path_column, read_csv, read_json
from geohydra.sources.marks import box, polygon

_BOX = ("xmin", "ymin", "xmax", "ymax")


def read_coco(images: Sequence[str], labels: Sequence[str], *, boxes: bool) -> Told:
    """Each image that a file lists counts as labelled, also with nothing."""
    told, names = Told(), ImageNames(images)
    for uri in labels:
        found = read_json(uri, dict)
        for key in ("images", "annotations", "categories"):
            if key not in found:
                raise DataError(uri, f"has no {key!r}, as COCO files do", "check which file tells the labels")
        kinds = {one["id"]: str(one["name"]) for one in found["categories"]}
        known = {one["id"]: names.find(str(one["file_name"]), where=uri) for one in found["images"]}
        for image in known.values():
            if image is not None:
                told.chips.setdefault(image, ChipLabels(shapes=[]))
        crowds = 0
        for one in found["annotations"]:
            where = f"{uri}, annotation {one.get('id')}"
            image = _image(one, known, where)
            if one.get("iscrowd"):
                crowds += 1
            elif image is not None:
                _shapes(told.chips[image]).append((_coco_shape(one, where, boxes=boxes), _kind(one, kinds, where)))
        told.notes += [f"{uri}: {crowds} crowds were left out"] if crowds else []
        told.notes += names.notes(uri)
    return told


def read_boxes(images: Sequence[str], labels: Sequence[str], *, path: str | None, label: str) -> Told:
    """By the column `path` if there is one asked for, else by the names of the tables."""
    told, names = Told(), ImageNames(images)
    for uri in labels:
        header, rows = read_csv(uri)
        for name in _BOX:
            column(uri, header, name)
        place = path_column(uri, header, path) if path else None
        own = None if place else names.find(uri.rsplit("/", 1)[-1].rpartition(".")[0], where=uri)
        if own is not None:
            told.chips[own] = ChipLabels(shapes=[])
        for line, row in enumerate(rows, start=2):
            where = f"{uri}, line {line}"
            image = names.find(row[place], where=where) if place else own
            if image is not None:
                chip = told.chips.setdefault(image, ChipLabels(shapes=[]))
                _shapes(chip).append((box(*(_number(row[name], where) for name in _BOX)), row.get(label) or None))
        told.notes += names.notes(uri)
    return told


def read_features(images: Sequence[str], labels: Sequence[str], *, image: str, label: str, box: str) -> Told:
    """All images count as labelled: the file is for all of them."""
    told, names = Told({uri: ChipLabels(shapes=[]) for uri in images}), ImageNames(images)
    for uri in labels:
        for number, feature in enumerate(read_json(uri, dict).get("features", [])):
            where, properties = f"{uri}, feature {number}", feature.get("properties") or {}
            missing = [name for name in (image, label, box) if name not in properties]
            if missing:
                raise DataError(where, f"has no property {missing[0]!r}", f"it has {', '.join(properties)}")
            owner = names.find(str(properties[image]), where=where)
            if owner is not None:
                _shapes(told.chips[owner]).append((_told_box(properties[box], where), str(properties[label])))
        told.notes += names.notes(uri)
    return told


def _shapes(chip: ChipLabels) -> list[tuple[Any, str | None]]:
    if chip.shapes is None:
        chip.shapes = []
    return chip.shapes


def _image(one: Mapping[str, Any], known: Mapping[Any, str | None], where: str) -> str | None:
    if one.get("image_id") not in known:
        raise DataError(where, f"is of the image {one.get('image_id')!r}, which the file does not list", "write the file again")
    return known[one["image_id"]]


def _kind(one: Mapping[str, Any], kinds: Mapping[Any, str], where: str) -> str:
    if one.get("category_id") not in kinds:
        raise DataError(where, f"is of the category {one.get('category_id')!r}, which the file does not list", "write the file again")
    return kinds[one["category_id"]]


def _coco_shape(one: Mapping[str, Any], where: str, *, boxes: bool) -> Any:
    import shapely

    outline = one.get("segmentation")
    if isinstance(outline, Mapping) and not boxes:
        raise DataError(where, "has a mask as runs of pixels (RLE)", "convert it to outlines, or take boxes with source.labels.boxes=true")
    if outline and not boxes:
        return shapely.union_all([polygon([float(number) for number in ring]) for ring in outline])
    if "bbox" not in one:
        raise DataError(where, "has neither an outline nor a box", "write the file again")
    left, top, wide, high = (_number(number, where) for number in one["bbox"])
    return box(left, top, left + wide, top + high)


def _told_box(value: Any, where: str) -> Any:
    numbers = value.split(",") if isinstance(value, str) else value
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise DataError(where, f"{value!r} is no box", "it is written xmin,ymin,xmax,ymax")
    return box(*(_number(number, where) for number in numbers))


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as cause:
        raise DataError(where, f"{value!r} is no number", "mend the labels") from cause
