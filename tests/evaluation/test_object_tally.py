"""Average precision by named rules, against pycocotools, torchmetrics and the loops of the published scripts."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from geohydra.evaluation.object_tally import AREAS, COCO_OVERLAPS, Measure, Tally, coco_measures
from geohydra.evaluation.overlaps import Found, Truth, mask_pairs

CLASSES = 3


@dataclass(frozen=True)
class Case:
    """One image: true boxes, classes and crowds; found boxes, classes and scores."""

    truth: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    found: np.ndarray
    guesses: np.ndarray
    scores: np.ndarray

    @property
    def sides(self) -> tuple[Found, Truth]:
        """As we take them; crowds are aside."""
        plain = Truth.of(self.truth, self.classes)
        return Found.of(self.found, self.guesses, self.scores), Truth(plain.boxes, plain.classes, plain.areas, self.crowd, self.crowd)


def case(seed: int, *, side: int = 80) -> Case:
    """Found boxes are true ones that are a little off; scores have ties."""
    draw = np.random.default_rng(seed)
    count, guesses = int(draw.integers(0, 15)), int(draw.integers(1, 30))
    start = draw.integers(0, side, (count, 2))
    truth = np.hstack([start, start + draw.integers(4, 60, (count, 2)) * draw.choice([1, 1, 3])]).astype(float)
    classes, near = draw.integers(0, CLASSES, count), draw.integers(0, max(count, 1), guesses)
    found = (truth[near] if count else np.zeros((guesses, 4))) + draw.integers(-6, 7, (guesses, 4))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    right = (draw.random(guesses) < 0.8) & (count > 0)
    named = np.where(right, classes[near] if count else 0, draw.integers(0, CLASSES, guesses))
    return Case(truth, classes, draw.random(count) < 0.15, found, named, np.round(draw.random(guesses), 1).astype(np.float32))


def xywh(box: np.ndarray) -> list[float]:
    return [float(value) for value in (box[1], box[0], box[3] - box[1], box[2] - box[0])]


def published(annotations: list[dict[str, Any]], results: list[dict[str, Any]], images: int, *, kind: str, most: int) -> np.ndarray:
    """Average precision `(overlap, class, area)` by pycocotools; NaN where it tells none."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": place + 1, "height": 64, "width": 64} for place in range(images)],
            "categories": [{"id": number + 1} for number in range(CLASSES)],
            "annotations": [{"id": place + 1, **one} for place, one in enumerate(annotations)],
        }
        truth.createIndex()
        scorer = COCOeval(truth, truth.loadRes(results), kind)
        scorer.params.maxDets = [most]
        scorer.evaluate()
        scorer.accumulate()
    precision = scorer.eval["precision"][..., 0]
    return np.where((precision > -1).any(1), precision.mean(1), np.nan)


def of_boxes(cases: list[Case], most: int) -> np.ndarray:
    annotations, results = [], []
    for place, one in enumerate(cases, start=1):
        for box, number, crowd in zip(one.truth, one.classes, one.crowd, strict=True):
            area = float(np.prod(box[2:] - box[:2]))
            annotations.append({"image_id": place, "category_id": int(number) + 1, "iscrowd": int(crowd), "bbox": xywh(box), "area": area})
        for box, number, score in zip(one.found, one.guesses, one.scores, strict=True):
            results.append({"image_id": place, "category_id": int(number) + 1, "score": float(score), "bbox": xywh(box)})
    return published(annotations, results, len(cases), kind="bbox", most=most)


def averages(tally: Tally) -> np.ndarray:
    """`(overlap, class, area)`."""
    return np.stack([np.stack(list(tally.averages(area=name).values())) for name in AREAS], axis=-1)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("most", [3, 100])
def test_box_precision_equals_pycocotools_with_crowds_ties_and_areas(seed: int, most: int) -> None:
    cases = [case(10 * seed + place) for place in range(4)]
    tally = Tally(CLASSES, coco_measures(tuple(AREAS)), most=most)

    for one in cases:
        tally.add(*one.sides)

    np.testing.assert_allclose(averages(tally), of_boxes(cases, most), atol=1e-12)


def blobs(draw: np.random.Generator, count: int) -> np.ndarray:
    """Masks that may lie over each other."""
    rows, cols = np.mgrid[:64, :64]
    places = draw.uniform(0, 64, (count, 2, 1, 1))
    return np.asarray((rows - places[:, 0]) ** 2 + (cols - places[:, 1]) ** 2 < draw.uniform(3, 20, (count, 1, 1)) ** 2)


@pytest.mark.parametrize("seed", range(20))
def test_mask_precision_equals_pycocotools(seed: int) -> None:
    draw = np.random.default_rng(seed)
    tally, annotations, results = Tally(CLASSES, coco_measures(tuple(AREAS)), most=100), [], []
    for image in range(1, 4):
        truth = blobs(draw, int(draw.integers(0, 8)))
        found = np.concatenate([np.roll(truth, draw.integers(-2, 3, 2), (1, 2)), blobs(draw, 3)])
        classes, guesses = draw.integers(0, CLASSES, len(truth)), draw.integers(0, CLASSES, len(found))
        guesses[: len(truth)] = np.where(draw.random(len(truth)) < 0.8, classes, guesses[: len(truth)])
        scores, crowd = np.round(draw.random(len(found)), 1).astype(np.float32), draw.random(len(truth)) < 0.2
        pairs = mask_pairs(found, truth, crowd)
        alike = guesses[pairs.found] == classes[pairs.truth]
        pairs = type(pairs)(pairs.found[alike], pairs.truth[alike], pairs.overlap[alike])
        empty = np.zeros(len(found), bool)
        tally.add(
            Found(np.zeros((len(found), 4)), guesses, scores, found.sum((1, 2)).astype(float), empty),
            Truth(np.zeros((len(truth), 4)), classes, truth.sum((1, 2)).astype(float), crowd, crowd),
            pairs,
        )
        for mask, number, many in zip(truth, classes, crowd, strict=True):
            code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            known = {"area": float(mask.sum()), "iscrowd": int(many), "bbox": [0.0] * 4}
            annotations.append({"image_id": image, "category_id": int(number) + 1, "segmentation": code, **known})
        for mask, number, score in zip(found, guesses, scores, strict=True):
            code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            results.append({"image_id": image, "category_id": int(number) + 1, "score": float(score), "segmentation": code})

    np.testing.assert_allclose(averages(tally), published(annotations, results, 3, kind="segm", most=100), atol=1e-12)


def voc_ap(recall: np.ndarray, precision: np.ndarray, *, eleven: bool) -> float:
    """As the VOC and DOTA scripts have it."""
    if eleven:
        return sum((precision[recall >= t].max() if (recall >= t).any() else 0.0) / 11 for t in np.arange(0.0, 1.1, 0.1))
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    for place in range(precision.size - 1, 0, -1):
        precision[place - 1] = max(precision[place - 1], precision[place])
    steps = np.where(recall[1:] != recall[:-1])[0]
    return float(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))


def iou(one: Any, other: Any) -> float:
    return float(one.intersection(other).area / one.union(other).area)


def by_script(images: list[dict[str, Any]], number: int, *, beyond: bool, eleven: bool) -> float:
    """One class by the loop of the VOC and DOTA scripts: the best true object or nothing; difficult ones do not count."""
    every = [
        (float(score), image, shape)
        for image, one in enumerate(images)
        for score, shape, guess in zip(one["scores"], one["found"], one["guesses"], strict=True)
        if guess == number
    ]
    every.sort(key=lambda row: -row[0])
    own = [[place for place, name in enumerate(one["classes"]) if name == number] for one in images]
    truths = sum(not images[image]["difficult"][place] for image, places in enumerate(own) for place in places)
    taken: set[tuple[int, int]] = set()
    hits, false = np.zeros(len(every)), np.zeros(len(every))
    for row, (_, image, shape) in enumerate(every):
        overlaps = [iou(shape, images[image]["truth"][place]) for place in own[image]]
        most = max(overlaps, default=-1.0)
        if (most > 0.5) if beyond else (most >= 0.5):
            place = own[image][int(np.argmax(overlaps))]
            if images[image]["difficult"][place]:
                continue
            hits[row], false[row] = (image, place) not in taken, (image, place) in taken
            taken.add((image, place))
        else:
            false[row] = 1
    hits, false = np.cumsum(hits), np.cumsum(false)
    return voc_ap(hits / truths, hits / np.maximum(hits + false, np.finfo(float).eps), eleven=eleven) if truths else float("nan")


def turned(draw: np.random.Generator, count: int) -> np.ndarray:
    """Rectangles that are turned."""
    shapes = [
        shapely.affinity.rotate(shapely.box(x, y, x + w, y + h), angle)
        for x, y, w, h, angle in zip(*draw.uniform([0, 0, 5, 5, 0], [60, 60, 25, 25, 180], (count, 5)).T, strict=True)
    ]
    return np.array(shapes, dtype=object)


def oriented(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    truth = turned(draw, int(draw.integers(1, 12)))
    tilted = [shapely.affinity.rotate(shape, draw.uniform(-8, 8)) for shape in truth.repeat(2)]
    near = [shapely.affinity.translate(shape, *draw.uniform(-3, 3, 2)) for shape in tilted]
    found = np.concatenate([np.array(near, dtype=object), turned(draw, 4)])
    classes = draw.integers(0, 2, len(truth))
    guesses = np.concatenate([classes.repeat(2), draw.integers(0, 2, 4)])
    known = {"truth": truth, "found": found, "classes": classes, "guesses": guesses}
    return known | {"difficult": draw.random(len(truth)) < 0.2, "scores": draw.random(len(found)).astype(np.float32)}


def upright(image: dict[str, Any]) -> dict[str, Any]:
    return image | {side: shapely.envelope(image[side]) for side in ("truth", "found")}


def sides(image: dict[str, Any], *, boxes: bool) -> tuple[Found, Truth]:
    found, truth = (shapely.bounds(image[side])[:, [1, 0, 3, 2]] for side in ("found", "truth"))
    outlines = (None, None) if boxes else (image["found"], image["truth"])
    return (
        Found.of(found, image["guesses"], image["scores"], outlines[0]),
        Truth.of(truth, image["classes"], outlines[1], aside=image["difficult"]),
    )


@pytest.mark.parametrize(("rule", "beyond", "eleven"), [("voc2007", False, True), ("voc2012", False, False), ("dota", True, True)])
@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_precision_by_voc_and_dota_equals_their_scripts(rule: Any, beyond: bool, eleven: bool, boxes: bool, seed: int) -> None:
    images = [oriented(10 * seed + place) for place in range(3)]
    images = [upright(one) for one in images] if boxes else images
    tally = Tally(2, [Measure(0.5, rule)])

    for one in images:
        tally.add(*sides(one, boxes=boxes))

    assert tally.average(0) == pytest.approx([by_script(images, number, beyond=beyond, eleven=eleven) for number in (0, 1)], nan_ok=True)


def by_xview(cases: list[Case], number: int) -> float:
    """One class by the loop of xView's script: found objects in the order of their scores, the largest overlap or nothing."""
    scores, hits, truths = [], [], 0
    for one in cases:
        truth = one.truth[one.classes == number]
        order = np.argsort(-one.scores[one.guesses == number], kind="stable")
        found, taken = one.found[one.guesses == number][order], np.zeros(len(truth), bool)
        scores += one.scores[one.guesses == number][order].tolist()
        truths += len(truth)
        for box in found:
            overlaps = [iou(shapely.box(*box), shapely.box(*other)) for other in truth]
            place = int(np.argmax(overlaps)) if overlaps else -1
            hits.append(place >= 0 and overlaps[place] >= 0.5 and not taken[place])
            if hits[-1]:
                taken[place] = True
    if not truths:
        return float("nan")
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.array(hits, bool)[order]
    tp, fp = np.cumsum(right), np.cumsum(~right)
    return voc_ap(tp / truths, tp / (tp + fp + np.spacing(1)), eleven=False)


@pytest.mark.parametrize("seed", range(10))
def test_precision_by_xview_equals_its_script(seed: int) -> None:
    cases = [case(100 + 10 * seed + place) for place in range(3)]
    tally = Tally(CLASSES, [Measure(0.5, "xview")])

    for one in cases:
        found, truth = one.sides
        tally.add(found, Truth.of(truth.boxes, truth.classes))

    assert tally.average(0) == pytest.approx([by_xview(cases, number) for number in range(CLASSES)], nan_ok=True)


def test_the_best_threshold_is_that_of_the_highest_f1_of_all_scores() -> None:
    cases = [case(seed) for seed in range(6)]
    tally = Tally(CLASSES, [Measure(0.5)])
    for one in cases:
        tally.add(*one.sides)
    levels = np.unique(np.concatenate([one.scores for one in cases]))[::-1]

    for number in range(CLASSES):
        tried = [tally.at(np.full(CLASSES, level)).f1[number] for level in levels]
        threshold, f1 = tally.line(number).best
        assert f1 == pytest.approx(max(tried))
        assert threshold == pytest.approx(levels[int(np.argmax(tried))])


def test_counts_at_a_threshold_are_those_of_what_reaches_it_alone() -> None:
    cases = [case(seed) for seed in range(5)]
    whole, part = Tally(CLASSES, [Measure(0.5)]), Tally(CLASSES, [Measure(0.5)])
    for one in cases:
        found, truth = one.sides
        whole.add(found, truth)
        part.add(found.take(found.scores >= np.float32(0.4)), truth)

    chosen, expected = whole.at(np.full(CLASSES, 0.4)), part.at(np.zeros(CLASSES))

    assert (chosen.hits == expected.hits).all()
    assert (chosen.false == expected.false).all()
    assert chosen.overlaps == pytest.approx(expected.overlaps)
    assert chosen.count_error == pytest.approx(np.abs(chosen.hits + chosen.false - chosen.truths).sum() / chosen.truths.sum())


def test_what_is_aside_is_neither_a_hit_nor_a_false_alarm() -> None:
    box = np.array([[0.0, 0, 10, 10]])
    tally = Tally(1, [Measure(0.5)])
    found = Found.of(np.vstack([box, box, box + 100]), np.zeros(3, int), np.array([0.9, 0.8, 0.7]))
    aside = Found(found.boxes, found.classes, found.scores, found.areas, np.array([False, False, True]))

    judged = tally.add(aside, Truth.of(box, np.zeros(1, int), aside=np.array([True])))

    assert judged.states.tolist() == [0, 0, 0]
    assert tally.truths.sum() == 0


def test_measures_without_any_object_tell_nothing() -> None:
    tally = Tally(2, coco_measures())

    assert np.isnan(tally.average(0)).all()
    assert np.isnan(tally.at(np.zeros(2)).f1).all()
    assert set(tally.averages()) == set(COCO_OVERLAPS)
