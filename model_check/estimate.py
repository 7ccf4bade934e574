"""How much of a breadth-first search may be left, judged by the sizes of its levels so far.

The ratio of one level to the one before falls steadily until the levels shrink and end. A straight
line through the logarithms of the last ratios is followed to the end. This is an estimate, nothing
rests on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

RATIOS = 8
"""How many of the last ratios are looked at."""
MOST_LEVELS = 1000


def states_to_come(sizes: Sequence[int]) -> float | None:
    """How many states deeper levels may have; ``None`` if the levels do not tell yet."""
    ratios = [math.log(b / a) for a, b in itertools.pairwise(sizes)][-RATIOS:]
    if len(ratios) < RATIOS:
        return None
    middle = (RATIOS - 1) / 2
    mean = sum(ratios) / RATIOS
    slope = sum((i - middle) * r for i, r in enumerate(ratios)) / sum(
        (i - middle) ** 2 for i in range(RATIOS)
    )
    if slope >= 0:
        return None
    total, size, ratio = 0.0, float(sizes[-1]), mean + slope * (RATIOS - middle)
    for _ in range(MOST_LEVELS):
        size *= math.exp(ratio)
        if size < 1:
            return total
        total += size
        ratio += slope
    return None
