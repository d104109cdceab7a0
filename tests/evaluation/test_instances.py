"""Scores of objects with outlines, against the public scorers' loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from geohydra.evaluation.instances import InstanceTally, panoptic_quality, pooled_f1
from geohydra.evaluation.object_scenes import Meeting
from geohydra.evaluation.object_tally import Measure, Tally
from geohydra.evaluation.overlaps import Found, Pairs, Truth, overlapping, raster_pairs


def shapes(draw: np.random.Generator, count: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    corners = np.column_stack([np.cos(angles), np.sin(angles)])
    rings = [centre + draw.uniform(2, 10, (8, 1)) * corners for centre in draw.uniform(0, 90, (count, 2))]
    return np.array([shapely.Polygon(ring) for ring in rings], dtype=object)


def scene(seed: int) -> Meeting:
    draw = np.random.default_rng(seed)
    truth = shapes(draw, int(draw.integers(2, 25)))
    near = [shapely.affinity.translate(shape, *draw.normal(0, 1, 2)) for shape in truth.repeat(2)[: int(draw.integers(0, 40))]]
    found = np.concatenate([np.array(near, dtype=object), shapes(draw, 3)])
    one, other = (shapely.bounds(sides)[:, [1, 0, 3, 2]] for sides in (found, truth))
    none = np.zeros(len(found), np.int64)
    return Meeting(
        Found.of(one, none, draw.random(len(found)), found), Truth.of(other, np.zeros(len(truth), np.int64), truth), np.zeros(len(found))
    )


def spacenet(scenes: list[Meeting], min_area: float) -> float:
    """The loop of the public scorer: each proposal takes the best footprint that is left, if its IoU is above 0.5."""
    hits = false = misses = 0
    for one in scenes:
        left = [shape for shape in one.truth.outlines if shape.area >= min_area]
        order = np.argsort(-one.found.scores, kind="stable")
        for shape in one.found.outlines[order]:
            if shape.area <= min_area:
                continue
            overlaps = [shape.intersection(other).area / shape.union(other).area for other in left]
            if overlaps and max(overlaps) > 0.5:
                left.pop(int(np.argmax(overlaps)))
                hits += 1
            else:
                false += 1
        misses += len(left)
    precision, recall = hits / (hits + false), hits / (hits + misses)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("min_area", [0.0, 80.0])
@pytest.mark.parametrize("seed", range(10))
def test_spacenet_f1_equals_the_loop_of_the_public_scorer(seed: int, min_area: float) -> None:
    scenes = [scene(10 * seed + place) for place in range(3)]
    tally = InstanceTally(1, min_area=min_area)

    for one in scenes:
        tally.add(one, overlapping(one.found, one.truth, least=0.5))

    assert tally.scores(np.zeros(1))["spacenet_f1"] == pytest.approx(spacenet(scenes, min_area))


def rasters(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids of true and of found objects, their classes, and where nothing is known."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 13, (8, 8)).repeat(6, 0).repeat(6, 1)
    moved = np.roll(truth, draw.integers(0, 2, 2), (0, 1))
    found = np.where(draw.random((48, 48)) < 0.1, 0, moved)
    classes, guesses = draw.integers(0, 2, 12), draw.integers(0, 2, 12)
    guesses = np.where(draw.random(12) < 0.8, classes, guesses)
    void = np.zeros((48, 48), bool)
    void[: draw.integers(0, 25)] = True
    return truth, found, classes, guesses, void


def panoptic(truth: np.ndarray, found: np.ndarray, classes: np.ndarray, guesses: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """As the reference code of the panoptic challenge counts: void is taken out of what was found, and of the union."""
    truth = np.where(void, 0, truth)
    rows: dict[int, list[Any]] = {number: [0, 0, 0, 0.0] for number in (0, 1)}
    found_hit, true_hit = set(), set()
    for a in set(np.unique(found)) - {0}:
        for b in set(np.unique(truth)) - {0}:
            shared = ((found == a) & (truth == b)).sum()
            union = (found == a).sum() + (truth == b).sum() - shared - ((found == a) & void).sum()
            if shared and guesses[a - 1] == classes[b - 1] and shared / union > 0.5:
                rows[int(classes[b - 1])][0] += 1
                rows[int(classes[b - 1])][3] += shared / union
                found_hit.add(a)
                true_hit.add(b)
    for b in set(np.unique(truth)) - {0} - true_hit:
        rows[int(classes[b - 1])][2] += 1
    for a in set(np.unique(found)) - {0} - found_hit:
        if ((found == a) & void).sum() / (found == a).sum() <= 0.5:
            rows[int(guesses[a - 1])][1] += 1
    counted = [row for row in rows.values() if sum(row[:3])]
    sq = [row[3] / row[0] if row[0] else 0.0 for row in counted]
    rq = [row[0] / (row[0] + row[1] / 2 + row[2] / 2) for row in counted]
    return {"pq": float(np.mean([a * b for a, b in zip(sq, rq, strict=True)])), "sq": float(np.mean(sq)), "rq": float(np.mean(rq))}


@pytest.mark.parametrize("seed", range(30))
def test_panoptic_quality_equals_the_reference_with_void(seed: int) -> None:
    truth, found, classes, guesses, void = rasters(seed)
    known = np.where(void, 0, truth)
    sizes, void_sizes = (np.bincount(found[where], minlength=13)[1:].astype(float) for where in (np.ones_like(void), void))
    there, seen = np.bincount(known.ravel(), minlength=13)[1:] > 0, sizes > 0
    pairs = raster_pairs(found, known, ~void)
    alike = guesses[pairs.found] == classes[pairs.truth]
    pairs = Pairs(pairs.found[alike], pairs.truth[alike], pairs.overlap[alike]).among(seen, there)
    ours = Found.of(np.zeros((12, 4)), guesses, np.ones(12)).take(seen)
    tally = Tally(2, [Measure(0.5, "spacenet")])

    tally.add(replace(ours, aside=(2 * void_sizes > sizes)[seen]), Truth.of(np.zeros((12, 4)), classes).take(there), pairs)
    quality = panoptic_quality(tally.at(np.zeros(2)))

    assert {name: float(np.nanmean(values)) for name, values in quality.items()} == pytest.approx(
        panoptic(truth, found, classes, guesses, void), abs=1e-6
    )


def test_what_is_found_on_unknown_ground_is_cut_before_it_is_compared() -> None:
    boxes = np.array([[0.0, 0, 10, 20]])
    outlines = np.array([shapely.box(0, 0, 20, 10)], dtype=object)
    truth = Truth.of(np.array([[0.0, 0, 10, 9]]), np.zeros(1, int), np.array([shapely.box(0, 0, 9, 10)], dtype=object))
    seen = Meeting(Found.of(boxes, np.zeros(1, int), np.ones(1), outlines), truth, np.array([100.0]))
    tally = InstanceTally(1)

    tally.add(seen, overlapping(seen.found, truth, least=0.5))

    values = tally.scores(np.zeros(1))
    assert values["pq"] == pytest.approx(0.9)
    assert values["spacenet_f1"] == 0


def test_no_objects_at_all_have_no_quality() -> None:
    tally = InstanceTally(2)

    assert np.isnan(tally.scores(np.zeros(2))["pq"])
    assert pooled_f1(tally.spacenet.at(np.zeros(2))) == 0
