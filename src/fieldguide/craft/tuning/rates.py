"""The learning rate of each step, as a part of its peak: the usual schedules, and those of two published runs.

    linear, cosine, constant    a rise over the first steps, then the schedule (`fieldguide.craft.optimiser.rate`)
    moondream                   fine-tuning of moondream as its script has it: from 0.1 over a tenth of the steps to 1, then a cosine
                                written as cos(pi (x - 0.1)), so that it comes down to 0.122 and not to 0.1, where it should
    moondream_corrected         the same with the cosine stretched over what is left, so that the last step has 0.1

Fine-tuning of Llama 3.2 Vision with Unsloth, as its notebooks have it, is ``linear`` with 5 steps of rise.
"""

from __future__ import annotations

import math
from typing import Literal, cast

from fieldguide.craft import optimiser

Schedule = Literal["linear", "cosine", "constant", "moondream", "moondream_corrected"]
SCHEDULES: tuple[Schedule, ...] = ("linear", "cosine", "constant", "moondream", "moondream_corrected")
#: Part of the steps over which moondream's schedule rises, and the part of the peak that it begins with.
_RISE, _FLOOR = 0.1, 0.1


def rate(step: int, total: int, warmup: float, schedule: Schedule) -> float:
    """Return the part of the peak rate at `step` of `total`, counted from 0. `warmup` is a part of all steps; moondream has its own."""
    if schedule not in ("moondream", "moondream_corrected"):
        return optimiser.rate(step, total, warmup, cast(optimiser.Schedule, schedule))
    published = schedule == "moondream"
    # The script takes a step with the rate of the one before it, so the first has what the schedule begins with.
    gone = step / total if published else step / max(1, total - 1)
    if gone < _RISE:
        return _FLOOR + (1 - _FLOOR) * gone / _RISE
    span = 1.0 if published else 1 - _RISE
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * (gone - _RISE) / span)) / 2
