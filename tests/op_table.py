"""The operations of the API as data: what each is called with, and what NumPy says of it.

A row is one call with concrete shapes; an operation has as many rows as it has kinds of input that
could go wrong. ``test_ops.py`` compares the results with the references, ``test_gradients.py`` the
gradients with differences, ``test_op_coverage.py`` the names in ``covers`` with the registry.

To add rows, add them to a module of ``op_rows``, or add a module.
"""

import importlib
import pkgutil

import op_rows
from op_rows.draws import Array, Draw, Shape, contiguous, distinct, labels, nonzero, normal, tied
from op_rows.row import FLOATS, INTEGERS, Input, Row

__all__ = [
    "FLOATS", "INTEGERS", "TABLE", "Array", "Draw", "Input", "Row", "Shape",
    "contiguous", "distinct", "labels", "nonzero", "normal", "tied",
]  # fmt: skip

TABLE: list[Row] = [
    row
    for module in pkgutil.iter_modules(op_rows.__path__)
    if module.name not in ("draws", "moves", "row")
    for row in importlib.import_module(f"op_rows.{module.name}").ROWS
]
