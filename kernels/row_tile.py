"""A block of sums that stay in registers, for convolutions of few channels: see shifted_rows.py.

    weigh    to[i, j + l] = start_i + sum over k of a[i, k] b[j, k + l]
    compare  to[i, j]     = start_i + sum over k, l of a[i, k + l] b[j, k + l]

for ROWS rows i, some places j, and the neighbours l that fill a vector. ``weigh`` multiplies
vectors of b by numbers, the weights of a filter; ``compare`` multiplies vectors with vectors, sums
lane by lane, and adds up the lanes at the end.

Everything is read where it lies, through tables of places and steps. As in ``microkernel.py``, the
sums are phi nodes of LLVM's loop, as Numba has no other way of saying "registers". The vectors are
of 32 bytes also where the CPU has longer ones: rows of images are short.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array
from .jit import numba
from .llvm import (
    COMPILED,
    as_it_stands,
    come_in,
    data_of,
    everywhere,
    fma,
    ir,
    itemsize_of,
    load_vector,
    store_vector,
    vector_at,
)
from .microkernel import VECTOR_BYTES

ROW_BYTES = min(VECTOR_BYTES, 32)
ROWS = 5  # filters often come in tens and twenties, and windows have 5 columns
WIDE = VECTOR_BYTES == 64  # 32 registers instead of 16
PLACES = 4 if WIDE else 2
TAPS = 5 if WIDE else 2  # places of ``compare``


def _loops(places: int, vectors: bool) -> Any:
    """The sum without a compiler."""

    def block(
        a: Array, a0: int, a_rows: Array, r: int, a_steps: Array, b: Array, b0: int,
        b_places: Array, p: int, b_steps: Array, k0: int, k1: int, starts: Array,
        to: Array, t: int, to_rows: Array, to_places: Array,
    ) -> None:  # fmt: skip
        lanes = ROW_BYTES // b.itemsize
        row = np.arange(lanes)
        for i in range(ROWS):
            for j in range(places):
                total = np.full(lanes, starts[r + i])
                for k in range(k0, k1):
                    at = a0 + a_rows[r + i] + a_steps[k]
                    factor = a[at + row] if vectors else a[at]
                    total += factor * b[b0 + b_places[p + j] + b_steps[k] + row]
                at = t + to_rows[r + i] + to_places[p + j]
                if vectors:
                    to[at] = total.sum()
                else:
                    to[at + row] = total

    return block


def _generator(places: int, vectors: bool) -> Any:
    """The same as a function that writes LLVM IR."""
    from numba.core import types

    def typed(
        context: Any, a: Any, a0: Any, a_rows: Any, r: Any, a_steps: Any, b: Any, b0: Any,
        b_places: Any, p: Any, b_steps: Any, k0: Any, k1: Any, starts: Any,
        to: Any, t: Any, to_rows: Any, to_places: Any,
    ) -> Any:  # fmt: skip
        n = types.intp
        signature = types.void(
            a, n, a_rows, n, a_steps, b, n, b_places, n, b_steps, n, n, starts,
            to, n, to_rows, to_places,
        )  # fmt: skip

        def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = target.get_value_type(signature.args[0].dtype)
            lanes = ROW_BYTES // itemsize_of(number)
            vector, integer = ir.VectorType(number, lanes), arguments[1].type
            one = ir.IntType(32)
            pa, parows, pasteps, pb, pplaces, pbsteps, pstarts, pto, ptorows, ptoplaces = (
                data_of(target, builder, signature.args[i], arguments[i])
                for i in (0, 2, 4, 5, 7, 9, 12, 13, 15, 16)
            )
            a0, r, b0, p, k0, k1, t = (arguments[i] for i in (1, 3, 6, 8, 10, 11, 14))

            def table(of: Any, at: Any, i: int) -> Any:
                return builder.load(builder.gep(of, [builder.add(at, integer(i))]))

            def load(base: Any, at: Any) -> Any:
                return load_vector(builder, vector_at(builder, base, at, vector))

            def number_everywhere(base: Any, at: Any) -> Any:
                return everywhere(builder, lanes, builder.load(builder.gep(base, [at])))

            def sum_of(total: Any) -> Any:
                """Of a vector's lanes: one half is added to the other until a number is left."""
                n = lanes
                while n > 1:
                    n //= 2
                    halves = (
                        builder.shuffle_vector(
                            total, total,
                            ir.Constant(ir.VectorType(one, n), list(range(begin, begin + n))),
                        )
                        for begin in (0, n)
                    )  # fmt: skip
                    total = builder.fadd(*halves)
                return builder.extract_element(total, one(0))

            tile = [(i, j) for i in range(ROWS) for j in range(places)]
            rows = [builder.add(a0, table(parows, r, i)) for i in range(ROWS)]
            columns = [builder.add(b0, table(pplaces, p, j)) for j in range(places)]
            first = [everywhere(builder, lanes, table(pstarts, r, i)) for i in range(ROWS)]
            entry = builder.block
            loop, after = (builder.append_basic_block(name) for name in ("over_k", "after"))
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(integer)
            sums = [builder.phi(vector) for _ in tile]
            a_step = builder.load(builder.gep(pasteps, [k]))
            b_step = builder.load(builder.gep(pbsteps, [k]))
            seen = [load(pb, builder.add(column, b_step)) for column in columns]
            more = []
            for i, row in enumerate(rows):
                at = builder.add(row, a_step)
                factor = load(pa, at) if vectors else number_everywhere(pa, at)
                mine = sums[i * places : (i + 1) * places]
                more += [fma(builder, factor, *pair) for pair in zip(seen, mine)]
            following = builder.add(k, integer(1))
            come_in([k, *sums], [k0, *(first[i] for i, _ in tile)], entry)
            come_in([k, *sums], [following, *more], loop)
            again = builder.cbranch(builder.icmp_signed("<", following, k1), loop, after)
            as_it_stands(builder.module, loop, again)

            builder.position_at_end(after)
            to_row = [builder.add(t, table(ptorows, r, i)) for i in range(ROWS)]
            to_place = [table(ptoplaces, p, j) for j in range(places)]
            for (i, j), total in zip(tile, more):
                at = builder.add(to_row[i], to_place[j])
                if vectors:
                    builder.store(sum_of(total), builder.gep(pto, [at]))
                else:
                    store_vector(builder, total, vector_at(builder, pto, at, vector))
            return target.get_dummy_value()

        return signature, write

    return typed


if COMPILED:
    weigh = numba.extending.intrinsic(_generator(PLACES, vectors=False))
    compare = numba.extending.intrinsic(_generator(TAPS, vectors=True))
else:
    weigh, compare = _loops(PLACES, vectors=False), _loops(TAPS, vectors=True)
