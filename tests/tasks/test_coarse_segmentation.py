"""What coarse segmentation says for itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from geohydra.models.coarse import EncoderHead
from geohydra.models.smp import SmpModel
from geohydra.task import Task
from geohydra.tasks.coarse_segmentation import CoarseSegmentation
from geohydra.training.cells import fractions
from geohydra.training.criteria import CrossEntropyLoss
from geohydra.types import IGNORE, Grid, Shape, Window


class Ground:
    """A ground of given class ids, all of them with a name."""

    def __init__(self, ids: NDArray[np.uint8]) -> None:
        self._ids = ids
        self.grid = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(*ids.shape))

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        found = np.full((window.shape.rows, window.shape.cols), IGNORE, np.uint8)
        inside = window.clip(self.grid.shape)
        if inside is not None:
            found[inside.shift(-window.row, -window.col).slices] = self._ids[inside.slices]
        return found


def test_it_is_a_task() -> None:
    assert isinstance(CoarseSegmentation(classes=["water"]), Task)


@given(seed=st.integers(0, 1000), cell=st.sampled_from([2, 4, 8]), rows=st.integers(1, 3), cols=st.integers(1, 3))
def test_fractions_are_shares_of_the_known_pixels_of_a_cell(seed: int, cell: int, rows: int, cols: int) -> None:
    draw = np.random.default_rng(seed)
    mask = draw.integers(0, 3, (rows * cell, cols * cell))
    known = draw.random(mask.shape) < 0.5

    shares, any_known = fractions(torch.from_numpy(mask)[None], torch.from_numpy(known)[None], classes=3, cell=Shape(cell, cell))

    for row, col in np.ndindex(rows, cols):
        part = np.s_[row * cell : (row + 1) * cell, col * cell : (col + 1) * cell]
        inside = mask[part][known[part]]
        assert bool(any_known[0, row, col]) == bool(inside.size)
        expected = [np.mean(inside == place) if inside.size else 0.0 for place in range(3)]
        assert shares[0, :, row, col].tolist() == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 1000), cell=st.sampled_from([2, 4, 8]), rows=st.integers(1, 3), cols=st.integers(1, 3))
def test_training_and_evaluation_sum_up_cells_alike(seed: int, cell: int, rows: int, cols: int) -> None:
    mask = np.random.default_rng(seed).choice([0, 1, 2, IGNORE], (rows * cell, cols * cell)).astype(np.uint8)
    task = CoarseSegmentation(classes=["water", "road"], cell=cell)  # type: ignore[arg-type]

    ours, known = task.fractions(Ground(mask), Window(0, 0, Shape(rows, cols)))
    given = torch.from_numpy(mask)[None]
    shares, also = fractions(given, given != IGNORE, classes=3, cell=Shape(cell, cell))

    assert torch.allclose(ours, shares[0], atol=1e-5)
    assert (known == also[0]).all()


def test_a_cell_is_of_the_label_that_covers_most_of_it_if_that_is_enough() -> None:
    ids = np.zeros((4, 8), np.uint8)
    ids[:, :1] = 1
    ids[0, 4] = 2
    ground = Ground(ids)
    whole = Window(0, 0, Shape(1, 2))

    enough = CoarseSegmentation(classes=["water", "road"], cell=4, min_share=0.25).truth(ground, whole)
    easy = CoarseSegmentation(classes=["water", "road"], cell=4, min_share=0.01).truth(ground, whole)

    assert enough.tolist() == [[1, 0]]
    assert easy.tolist() == [[1, 2]]


def test_cells_beyond_the_scene_are_unknown() -> None:
    task = CoarseSegmentation(classes=["water", "road"], cell=4)

    assert task.truth(Ground(np.ones((4, 5), np.uint8)), Window(0, 0, Shape(2, 2))).tolist() == [[1, 1], [IGNORE, IGNORE]]


def test_perfect_fractions_make_a_perfect_map_of_classes() -> None:
    mask = np.random.default_rng(0).choice([0, 1, 2], (32, 32), p=[0.5, 0.3, 0.2]).astype(np.uint8)
    task = CoarseSegmentation(classes=["water", "road"], cell=4, predict="fraction")

    shares, _ = task.fractions(Ground(mask), Window(0, 0, Shape(8, 8)))

    assert (shares[1:].amax(0) >= task.min_share).any()
    np.testing.assert_array_equal(task.truth(Ground(mask), Window(0, 0, Shape(8, 8))), shares.numpy().argmax(0))


@pytest.mark.parametrize("kind", ["class", "fraction"])
def test_a_network_that_knows_loses_nothing(kind: str) -> None:
    task = CoarseSegmentation(classes=["water"], cell=2, predict=kind, min_share=0.5)  # type: ignore[arg-type]
    mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    mask[:, :2] = 1
    batch = {"image": torch.zeros(1, 1, 4, 4), "valid": torch.ones(1, 4, 4, dtype=torch.bool), "mask": mask}
    sure = 20 * torch.nn.functional.one_hot(mask[:, ::2, ::2].long(), 2).permute(0, 3, 1, 2).float()
    scores = task.scores()
    scores.update(sure, batch)

    assert float(task.loss(CrossEntropyLoss(None, smoothing=0.0), sure, batch)) < 1e-6
    assert float(task.loss(CrossEntropyLoss(None, smoothing=0.0), -sure, batch)) > 1
    assert scores.compute()[task.monitor] == pytest.approx(1, abs=1e-6)


def test_scores_of_fractions_equal_scikit_learn() -> None:
    task = CoarseSegmentation(classes=["water", "road"], cell=4, predict="fraction")
    draw = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 3, (5, 8, 12), generator=draw).to(torch.uint8)
    mask[0, :4, :4] = IGNORE
    batch = {"image": torch.zeros(5, 1, 8, 12), "valid": torch.ones(5, 8, 12, dtype=torch.bool), "mask": mask}
    outputs = torch.randn(5, 3, 2, 3, generator=draw)
    scores = task.scores()
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        scores.update(outputs[part], {name: values[part] for name, values in batch.items()})
    found = scores.compute()

    shares, known = fractions(mask, mask != IGNORE, classes=3, cell=Shape(4, 4))
    truth, answer = (values.permute(0, 2, 3, 1)[known].numpy() for values in (shares, outputs.softmax(1)))
    assert len(truth) == 29
    assert found["r2"] == pytest.approx(np.mean(r2_score(truth, answer, multioutput="raw_values")), abs=1e-4)
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, answer), abs=1e-5)
    assert found["rmse"] == pytest.approx(np.mean(np.sqrt(mean_squared_error(truth, answer, multioutput="raw_values"))), abs=1e-5)
    assert found["baseline_rmse"] == pytest.approx(np.mean(truth.std(0)), abs=1e-5)


def test_a_model_for_pixels_or_for_other_cells_is_refused() -> None:
    task = CoarseSegmentation(classes=["water"], cell=8)

    assert "model=encoder_head" in str(next(task.check({"model": SmpModel()})))
    assert "output_stride" in str(next(task.check({"model": EncoderHead(output_stride=16)})))
    assert not list(task.check({"model": EncoderHead(output_stride=8)}))


@pytest.mark.parametrize("stride", [2, 8, 32])
def test_the_network_answers_once_a_cell(stride: int) -> None:
    network = EncoderHead(output_stride=stride).build(channels=5, classes=3).eval()  # type: ignore[arg-type]

    assert network(torch.zeros(1, 5, 64, 96)).shape == (1, 3, 64 // stride, 96 // stride)
