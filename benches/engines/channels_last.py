"""First weights for libraries that keep channels last."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from harness.case import Case

from . import Array


def channels_last_weights(case: Case, weights: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """The weights of a case, with the axes of each in the order that such libraries want.

    Dense weights become (inputs, outputs), where the inputs are in the order of a flattened image
    with channels last; those of convolutions (positions, inputs, outputs).
    """
    for placed in case.placed:
        for name in placed.weights:
            array = weights[name]
            if array.ndim == 1:
                yield name, array
            elif placed.layer.kind == "dense":
                images = np.moveaxis(array.reshape(-1, *placed.before), 1, -1)
                yield name, np.ascontiguousarray(images.reshape(len(array), -1).T)
            else:
                yield name, np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))
