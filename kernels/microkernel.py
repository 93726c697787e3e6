"""The innermost loop of all dense layers, written so that its sums stay in registers.

    to[i, j] += sum over k of a[row_i + step_k] * b[k, j]        ROWS rows i, a tile of columns j

k may leave numbers out at regular intervals: ``runs`` times ``depth`` of them count, and between
two runs ``gap`` do not. So the sum goes over a part of an image's columns in one go.

The tile is a few vectors wide. b is read as it lies, a vector at a time; of a, single numbers are
taken, from anywhere (a table of places, ``steps``, tells how to go from k to k + 1), and multiplied
with whole vectors. So only b has to be packed, and a can be an image that a window moves over.

``outer_products`` is that sum as plain loops. A compiler that gets to see it keeps ``to`` in memory
and loads and stores it for every few multiplications. Held in registers instead, each k loads 3
vectors of b and 8 numbers of a, and feeds 24 fused multiply-adds: 115 GFLOP/s on a core whose limit
is about 120, where the loops give 78 and OpenBLAS 97. Numba has no way of saying "registers", so
this one function is given to it as LLVM's intermediate representation: a loop over k whose sums are
phi nodes (values that each pass hands on).

Meanwhile the memory that will be needed next can be on its way: every few k, a tile asks for the
lines that lie ``a_ahead`` numbers behind a's, and ``ahead`` behind b's, if these are not 0. (Asked
for all at once, before the loop, lines wait for each other, and the loop for them.)

A vector is as wide as the CPU's: 16 float32 with AVX-512, 8 with AVX, else 4. Tiles are counted in
half vectors: where only a few columns are left (20 channels, say), half a vector less is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .backend import Array
from .jit import numba
from .llvm import (
    COMPILED,
    as_it_stands,
    come_in,
    data_of,
    everywhere,
    fetch,
    fma,
    ir,
    itemsize_of,
    lanes_below,
    load_vector,
    nothing,
    store_vector,
    vector_at,
)


def outer_products(
    a: Array, a0: int, rows: Array, r: int, steps: Array, k0: int, depth: int,
    b: Array, q: int, b_row: int, to: Array, t: int, to_row: int, n: int, runs: int, gap: int,
    a_ahead: int, ahead: int,
) -> None:  # fmt: skip
    """to[t + i to_row + j] += sum over k of
    a[a0 + rows[r + i] + steps[k0 + k]] * b[q + k b_row + j], for i < ROWS and j < n, and
    k = run (depth + gap) + 0 ... depth - 1 with run < runs. The last two change nothing."""
    for i in range(ROWS):
        start = a0 + rows[r + i]
        for run in range(runs):
            for k in range(run * (depth + gap), run * (depth + gap) + depth):
                for j in range(n):
                    to[t + i * to_row + j] += a[start + steps[k0 + k]] * b[q + k * b_row + j]


def _vector_bytes() -> int:
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = _vector_bytes() if COMPILED else 16
HALF = VECTOR_BYTES // 2
# 8 x 3 sums, 3 vectors of b and one number of a fit into AVX-512's 32 registers, 4 x 3 into 16.
ROWS = 8 if VECTOR_BYTES == 64 else 4
FETCHED = 8  # lines that are asked for together
HALVES = (6, 4, 3, 2, 1)  # the tiles that there are, in half vectors


class Arguments(NamedTuple):
    """Those of ``outer_products`` in code that is being written: of arrays, where they begin."""

    a: Any
    a0: Any
    rows: Any
    r: Any
    steps: Any
    k0: Any
    depth: Any
    b: Any
    q: Any
    b_row: Any
    to: Any
    t: Any
    to_row: Any
    n: Any
    runs: Any
    gap: Any
    a_ahead: Any
    ahead: Any


class Columns(NamedTuple):
    """A row of the tile as vectors."""

    kinds: list[Any]  # the type of each ...
    begins: list[int]  # ... and its first column
    mask: Any  # of a masked tile, which of the columns are there; else None


def _generator(halves: int, masked: bool = False) -> Any:
    """outer_products for a tile of ``halves`` half vectors, as a function that writes LLVM IR.

    The argument n is used by a ``masked`` tile: n columns are there, the rest is not touched.
    """
    from numba.core import types

    def typed(
        context: Any, a: Any, a0: Any, rows: Any, r: Any, steps: Any, k0: Any, depth: Any,
        b: Any, q: Any, b_row: Any, to: Any, t: Any, to_row: Any, n: Any, runs: Any, gap: Any,
        a_ahead: Any, ahead: Any,
    ) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(a, i, rows, i, steps, i, i, b, i, i, to, *[i] * 7)

        def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = Arguments(
                *(
                    data_of(target, builder, kind, argument)
                    if isinstance(kind, types.Array) else argument
                    for kind, argument in zip(signature.args, arguments)
                )
            )  # fmt: skip
            number = target.get_value_type(signature.args[0].dtype)
            columns = _columns(builder, number, halves, given.n if masked else None)
            _add(builder, given, columns, _write_loops(builder, given, columns))
            return target.get_dummy_value()

        return signature, write

    return typed


def _columns(builder: Any, number: Any, halves: int, n: Any) -> Columns:
    full = VECTOR_BYTES // itemsize_of(number)
    widths = [full] * (halves // 2) + [full // 2] * (halves % 2)
    kinds = [ir.VectorType(number, width) for width in widths]
    mask = None if n is None else lanes_below(builder, full, n)
    return Columns(kinds, [i * full for i in range(len(widths))], mask)


def _write_loops(builder: Any, given: Arguments, columns: Columns) -> list[Any]:
    """The sums of all rows, from a loop over runs, in which one goes over parts of FETCHED k, in
    which one goes over these k.

    From pass to pass each hands on k, where b's row k begins, and the sums so far.
    """
    integer = given.k0.type
    kinds = [integer, integer, *columns.kinds * ROWS]
    starts = _starts(builder, given)
    entry = builder.block
    run, part, loop, passed, ended, after = (
        builder.append_basic_block(name)
        for name in ("run", "part", "over_k", "passed", "ended", "after")
    )
    builder.branch(run)

    builder.position_at_end(run)
    ran, *of_run = (builder.phi(kind) for kind in (integer, *kinds))
    last = builder.add(of_run[0], given.depth)
    builder.branch(part)

    builder.position_at_end(part)
    of_part = [builder.phi(kind) for kind in kinds]
    _fetch_ahead(builder, given, starts, *of_part[:2])
    end = builder.add(of_part[0], integer(FETCHED))
    end = builder.select(builder.icmp_signed("<", end, last), end, last)
    fetched = builder.block
    builder.branch(loop)

    builder.position_at_end(loop)
    of_loop = [builder.phi(kind) for kind in kinds]
    k, at_b, *sums = of_loop
    sums = _multiply_add(builder, given, columns, starts, k, at_b, sums)
    k, at_b = builder.add(k, integer(1)), builder.add(at_b, given.b_row)
    again = builder.cbranch(builder.icmp_signed("<", k, end), loop, passed)
    as_it_stands(builder.module, loop, again)

    builder.position_at_end(passed)
    builder.cbranch(builder.icmp_signed("<", k, last), part, ended)

    builder.position_at_end(ended)
    done = builder.add(ran, integer(1))
    behind, behind_b = (
        builder.add(k, given.gap), builder.add(at_b, builder.mul(given.gap, given.b_row))
    )  # fmt: skip
    builder.cbranch(builder.icmp_signed("<", done, given.runs), run, after)

    zeros = [nothing(kind) for kind in kinds[2:]]
    come_in([ran, *of_run], [integer(0), given.k0, given.q, *zeros], entry)
    come_in([ran, *of_run], [done, behind, behind_b, *sums], ended)
    come_in(of_part, of_run, run)
    come_in(of_part, [k, at_b, *sums], passed)
    come_in(of_loop, of_part, fetched)
    come_in(of_loop, [k, at_b, *sums], loop)
    builder.position_at_end(after)
    return sums


def _starts(builder: Any, given: Arguments) -> list[Any]:
    """Where each row of a begins."""
    integer = given.r.type
    places = [
        builder.load(builder.gep(given.rows, [builder.add(given.r, integer(i))]))
        for i in range(ROWS)
    ]
    return [builder.gep(given.a, [builder.add(given.a0, place)]) for place in places]


def _fetch_ahead(builder: Any, given: Arguments, starts: list[Any], k: Any, at_b: Any) -> None:
    """Ask for what lies a_ahead behind a's numbers k, and ahead behind FETCHED rows of b."""
    zero = k.type(0)
    with builder.if_then(builder.icmp_signed("!=", given.a_ahead, zero)):
        to_fetch = builder.add(builder.load(builder.gep(given.steps, [k])), given.a_ahead)
        for start in starts:
            fetch(builder, builder.gep(start, [to_fetch]))
    with builder.if_then(builder.icmp_signed("!=", given.ahead, zero)):
        to_fetch = builder.add(at_b, given.ahead)
        for _ in range(FETCHED):
            fetch(builder, builder.gep(given.b, [to_fetch]))
            to_fetch = builder.add(to_fetch, given.b_row)


def _multiply_add(
    builder: Any, given: Arguments, columns: Columns, starts: list[Any], k: Any, at_b: Any,
    sums: list[Any],
) -> list[Any]:  # fmt: skip
    """The sums, row by row, and what k adds to them: each row's number of a times b's row."""
    vectors = [
        load_vector(builder, where, columns.mask)
        for where in _vectors_at(builder, given.b, at_b, columns)
    ]
    step = builder.load(builder.gep(given.steps, [k]))
    totals: list[Any] = []
    for start in starts:  # one by one: eight at a time take eight registers
        factor = builder.load(builder.gep(start, [step]))
        factors = [everywhere(builder, kind.count, factor) for kind in columns.kinds]
        mine = sums[len(totals) :]
        totals += [fma(builder, *terms) for terms in zip(factors, vectors, mine)]
    return totals


def _add(builder: Any, given: Arguments, columns: Columns, sums: list[Any]) -> None:
    """to[i, j] += the sums."""
    integer, wide = given.t.type, len(columns.kinds)
    for i in range(ROWS):
        at = builder.add(given.t, builder.mul(integer(i), given.to_row))
        mine = sums[i * wide : (i + 1) * wide]
        for where, total in zip(_vectors_at(builder, given.to, at, columns), mine):
            total = builder.fadd(load_vector(builder, where, columns.mask), total)
            store_vector(builder, total, where, columns.mask)


def _vectors_at(builder: Any, base: Any, at: Any, columns: Columns) -> Iterator[Any]:
    """Where each vector of a row is that begins with number ``at``."""
    for kind, begin in zip(columns.kinds, columns.begins):
        yield vector_at(builder, base, builder.add(at, at.type(begin)), kind)


def _plain(halves: int) -> Any:
    """A tile without the compiler."""

    def tile(*args: Any) -> None:
        loops: Any = outer_products
        to, rest = args[-8], args[-4:]
        loops(*args[:-5], halves * (HALF // to.itemsize), *rest)

    return tile


if COMPILED:
    tile6, tile4, tile3, tile2, tile1 = (numba.extending.intrinsic(_generator(h)) for h in HALVES)
    masked = numba.extending.intrinsic(_generator(2, masked=True))
else:
    tile6, tile4, tile3, tile2, tile1 = (_plain(h) for h in HALVES)
    masked = outer_products
