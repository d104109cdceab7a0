"""Numbers in pictures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def scatter(truth: NDArray[np.float64], answer: NDArray[np.float64], *, title: str) -> bytes:
    """Prediction over truth, and a histogram of the errors, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    ends = [float(min(truth.min(), answer.min())), float(max(truth.max(), answer.max()))]
    left.hexbin(truth, answer, gridsize=60, bins="log", cmap="viridis", mincnt=1)
    left.plot(ends, ends, color="#888888", linewidth=1)
    left.set(xlabel="truth", ylabel="prediction", title=title)
    right.hist(answer - truth, bins=60, color="#4c78a8")
    right.axvline(0, color="#888888", linewidth=1)
    right.set(xlabel="prediction less truth", ylabel="pixels", title="Errors")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
