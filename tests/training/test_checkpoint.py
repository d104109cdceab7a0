"""The state of a training on disk."""

from __future__ import annotations

import pytest
import torch

from geohydra.training.checkpoint import load_tree, save_tree


def test_a_tree_comes_back_as_it_was(tmp_path):
    tree = {"a": [1, 2.5, None, True], "b": {"c": ("x", float("inf"))}, 7: {"t": torch.arange(3)}, "none": {}, "last": ()}

    save_tree(tree, tmp_path / "state")
    found = load_tree(tmp_path / "state")

    assert torch.equal(found[7].pop("t"), tree[7].pop("t"))
    assert found == tree


def test_tensors_keep_their_order_in_memory(tmp_path):
    tensor = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)

    save_tree([tensor], tmp_path / "state")
    (found,) = load_tree(tmp_path / "state")

    assert torch.equal(found, tensor)
    assert found.stride() == tensor.stride()


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="plain values only"):
        save_tree({"path": tmp_path}, tmp_path / "state")

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    save_tree({"epoch": 1}, tmp_path / "state")
    save_tree({"epoch": 2}, tmp_path / "state")

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert load_tree(tmp_path / "state") == {"epoch": 2}
