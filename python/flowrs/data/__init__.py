"""Data sets, as arrays that are cut into batches."""

from __future__ import annotations

from flowrs.data.digits import load_digits
from flowrs.data.mnist import load_mnist

__all__ = ["load_digits", "load_mnist"]
