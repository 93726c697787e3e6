"""Where a task of ``implicit_gemm`` reads and writes, and which taps count: its tables.

Pixels of a task are numbered along the rows of y, or down its columns if the plan is turned; images
side by side are neighbours. The pixels beyond the last, which fill the last tile, are the last.
"""

from __future__ import annotations

import numpy as np

from .backend import Array
from .implicit_gemm_plan import Plan
from .jit import inline
from .microkernel import ROWS


@inline
def steps_of(plan: Plan, C: int) -> Array:
    """steps[s, kh, kw, c] = how far it is, in the copy of x, from a window's place to what tap
    (kh, kw) of phase s sees of channel c."""
    to_lower, to_right = _strides(plan)
    steps = np.empty(plan.down.size * plan.right.size * C, np.int64)
    k, before = 0, 0
    for KW in plan.counts:
        for d in plan.down:
            for kw in range(before, before + KW):
                tap = (d - plan.above) * to_lower + (plan.right[kw] - plan.left) * to_right
                for c in range(C):
                    steps[k] = (c * plan.HP * plan.WP + tap) * plan.I
                    k += 1
        before += KW
    return steps


@inline
def places_of(
    plan: Plan, h0: int, high: int, images: int, image: int, YW: int
) -> tuple[Array, Array]:
    """places[j]: where the window of pixel j begins in the copy of x; goals[j, s]: where its sum of
    phase s goes in a plane of y, -1 if nowhere.

    Of ``images``, ``high`` rows from h0 on; images are ``image`` numbers apart in y, rows YW.
    """
    I, S, OW = plan.I, plan.counts.size, plan.OW
    to_lower, to_right = _strides(plan)
    pixels = high * OW * I
    rows = (pixels + ROWS - 1) // ROWS * ROWS
    places = np.empty(rows, np.int64)
    goals = np.full(rows * S, -1)
    inner, outer = (high, OW) if plan.turned else (OW, high)
    j = 0
    for o in range(outer):
        for q in range(inner):
            oh, ow = (q, o) if plan.turned else (o, q)
            row = (plan.top + (h0 + oh) * plan.apart) * YW
            for i in range(I):
                places[j] = (oh * plan.SH * to_lower + ow * plan.SW * to_right) * I + i
                if i < images:
                    for s in range(min(S, YW - ow * S)):
                        goals[j * S + s] = i * image + row + ow * S + s
                j += 1
    for j in range(pixels, rows):
        places[j] = places[pixels - 1]
    return places, goals


@inline
def _strides(plan: Plan) -> tuple[int, int]:
    """From a pixel of the copy to the one below it, and to its neighbour."""
    return (1, plan.HP) if plan.turned else (plan.WP, 1)


@inline
def spans_of(plan: Plan, h0: int, high: int) -> Array:
    """spans[s, block] = the first kh that some pixel of a block of ROWS sees something with, the
    one behind the last, and two such kw of phase s."""
    I, S, OW, KH = plan.I, plan.counts.size, plan.OW, plan.down.size
    pixels = high * OW * I
    blocks = (pixels + ROWS - 1) // ROWS
    inner = high if plan.turned else OW
    spans = np.empty(4 * S * blocks, np.int64)
    for s in range(S):
        for b in range(blocks):
            first, last = b * ROWS // I, (min(b * ROWS + ROWS, pixels) - 1) // I
            i, j = first // inner, last // inner
            down, across = (0, KH), (0, plan.counts[s])
            if plan.turned:
                across = _both(plan.wide, s * OW + i, s * OW + j)
            else:
                down = _both(plan.tall, h0 + i, h0 + j)
                if i == j:
                    across = _both(plan.wide, s * OW + first % inner, s * OW + last % inner)
            to = 4 * (s * blocks + b)
            spans[to], spans[to + 1] = down
            spans[to + 2], spans[to + 3] = across
    return spans


@inline
def _both(seen: Array, i: int, j: int) -> tuple[int, int]:
    """Taps from the first to behind the last that sees something from pixel i, j or between."""
    return min(seen[2 * i], seen[2 * j]), max(seen[2 * i + 1], seen[2 * j + 1])
