"""What cases compare with where no golden trace exists, computed by PyTorch in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engines import Task

from harness import data
from harness.case import Case
from harness.operation import digest


def lines(cases: list[Case]) -> Iterator[str]:
    """The lines that belong into the cases' files."""
    import torch
    from engines import torch as engine

    for case in cases:
        yield f"# {case.name}"
        for part in case.parts:
            if part.part is not None:
                action = engine.setup_operation(part.part, 2, "eager", torch.float64)
                projection, magnitude = digest(action.result())
                yield f"{part.part.name}: digest = [{projection:.10g}, {magnitude:.10g}]"
            elif part.golden is not None and not part.golden.trace and part.kind == "train":
                losses = _losses(replace(part, dtype="float64"))
                yield f"{part.title}: losses = [{', '.join(f'{loss:.12g}' for loss in losses)}]"


def _losses(case: Case) -> list[float]:
    from engines import torch as engine

    assert case.golden is not None
    step = engine.setup(Task(case, data.first_weights(case), 2), "eager")
    batches = zip(*data.batches(case), strict=True)
    return [step(*batch) for batch, _ in zip(batches, range(case.golden.steps), strict=False)]
