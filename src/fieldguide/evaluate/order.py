"""An order of the classes in which those that are confused stand side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

#: Above this many classes the leaves are taken as the tree gives them: the best order of them takes too long to find.
MOST_OPTIMAL = 300


def neighbours(confusion: NDArray[np.int64]) -> list[int]:
    """Return positions of the classes of `confusion`, ``"classes answers"``, so that classes that are confused are neighbours.

    Confusion of two classes is the mean of the two shares of their rows, whichever way round. Classes are joined by average linkage,
    and the leaves of the tree are turned so that neighbours are as alike as can be (Z. Bar-Joseph, D. K. Gifford and T. S. Jaakkola,
    "Fast optimal leaf ordering for hierarchical clustering", Bioinformatics 17, 2001). Without any confusion the order stays as it is.
    """
    classes = confusion.shape[0]
    square = confusion[:, :classes].astype(np.float64)
    shares = square / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    mutual = (shares + shares.T) / 2
    np.fill_diagonal(mutual, 0.0)
    if classes < 3 or not mutual.any():
        return list(range(classes))
    apart = 1 - mutual / mutual.max()
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=classes <= MOST_OPTIMAL)
    order = [int(place) for place in leaves_list(tree)]
    # Either end may stand first; the one nearer to the usual order does.
    return order if order[0] < order[-1] else order[::-1]
