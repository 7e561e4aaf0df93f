"""Tensors in files of other formats, and conversion between those and checkpoints.

=================  =====================================================  ========
format             what it is                                             written
=================  =====================================================  ========
checkpoint         a directory of ``flow.checkpoint.save``                yes
safetensors        one file, ``.safetensors``                             yes
npz                one file, ``.npz``, of ``numpy.savez``                 yes
PyTorch            one file of ``torch.save``; its pickle is not run      no
=================  =====================================================  ========
"""

from __future__ import annotations

from flowrs.formats.conversion import Conversion, convert
from flowrs.formats.opening import open_tensors
from flowrs.formats.tensors import ElementType, Tensor, TensorFile

__all__ = ["Conversion", "ElementType", "Tensor", "TensorFile", "convert", "open_tensors"]
