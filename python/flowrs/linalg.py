"""``flow.linalg``: linear algebra on blobs."""

from __future__ import annotations

from flowrs.array import matmul

__all__ = ["matmul"]
