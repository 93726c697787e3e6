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

from typing import Any

from .backend import Array
from .jit import numba


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


COMPILED = numba is not None and not numba.config.DISABLE_JIT
VECTOR_BYTES = _vector_bytes() if COMPILED else 16
HALF = VECTOR_BYTES // 2
# 8 x 3 sums, 3 vectors of b and one number of a fit into AVX-512's 32 registers, 4 x 3 into 16.
ROWS = 8 if VECTOR_BYTES == 64 else 4
FETCHED = 8  # lines that are asked for together
HALVES = (6, 4, 3, 2, 1)  # the tiles that there are, in half vectors


def _generator(halves: int, masked: bool = False) -> Any:
    """outer_products for a tile of ``halves`` half vectors, as a function that writes LLVM IR.

    The argument n is used by a ``masked`` tile: n columns are there, the rest is not touched.
    """
    from llvmlite import ir
    from numba.core import types

    def typed(
        context: Any, a: Any, a0: Any, rows: Any, r: Any, steps: Any, k0: Any, depth: Any,
        b: Any, q: Any, b_row: Any, to: Any, t: Any, to_row: Any, n: Any, runs: Any, gap: Any,
        a_ahead: Any, ahead: Any,
    ) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(a, i, rows, i, steps, i, i, b, i, i, to, *[i] * 7)

        def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = target.get_value_type(signature.args[0].dtype)
            itemsize = 4 if isinstance(number, ir.FloatType) else 8
            full = VECTOR_BYTES // itemsize
            # The widths of the tile's vectors, and the column at which each begins.
            widths = [full] * (halves // 2) + [full // 2] * (halves % 2)
            begins = [i * full for i in range(len(widths))]
            kinds = [ir.VectorType(number, w) for w in widths]
            names = [f"v{w}{number.intrinsic_name}" for w in widths]
            integer = arguments[1].type

            def fma(v: int, x: Any, y: Any, z: Any) -> Any:
                name = f"llvm.fma.{names[v]}"
                return call(builder, name, kinds[v], [x, y, z])

            def pointer(i: int) -> Any:
                return target.make_array(signature.args[i])(target, builder, arguments[i]).data

            def element(base: Any, at: Any, kind: Any = None) -> Any:
                place = builder.gep(base, [at])
                return place if kind is None else builder.bitcast(place, kind.as_pointer())

            def aligned(instruction: Any) -> Any:  # to a number, not to a vector
                instruction.align = itemsize
                return instruction

            def columns_at(base: Any, v: int, at: Any) -> Any:
                return element(base, builder.add(at, integer(begins[v])), kinds[v])

            def load_columns(v: int, place: Any) -> Any:
                if not masked:
                    return aligned(builder.load(place))
                nothing = ir.Constant(kinds[v], [0] * widths[v])
                args = [place, ir.IntType(32)(itemsize), mask, nothing]
                return call(builder, f"llvm.masked.load.{names[v]}.p0{names[v]}", kinds[v], args)

            def store_columns(v: int, value: Any, place: Any) -> None:
                if not masked:
                    aligned(builder.store(value, place))
                    return
                name = f"llvm.masked.store.{names[v]}.p0{names[v]}"
                call(builder, name, ir.VoidType(), [value, place, ir.IntType(32)(itemsize), mask])

            pa, prows, psteps, pb, pto = (pointer(i) for i in (0, 2, 4, 7, 10))
            a0, r, k0, depth = (arguments[i] for i in (1, 3, 5, 6))
            q, b_row = arguments[8:10]
            t, to_row, n, runs, gap, a_ahead, ahead = arguments[11:]
            if masked:
                lanes = ir.VectorType(integer, widths[0])
                count = everywhere(builder, widths[0], n)
                mask = builder.icmp_signed("<", ir.Constant(lanes, list(range(widths[0]))), count)
            places = [builder.load(element(prows, builder.add(r, integer(i)))) for i in range(ROWS)]
            starts = [element(pa, builder.add(a0, place)) for place in places]
            tile = [(i, v) for i in range(ROWS) for v in range(len(widths))]
            nothings = [ir.Constant(kinds[v], [0] * widths[v]) for _, v in tile]
            entry = builder.block
            run, part, loop, passed, ended, after = (
                builder.append_basic_block(name)
                for name in ("run", "part", "over_k", "passed", "ended", "after")
            )
            builder.branch(run)

            builder.position_at_end(run)
            ran, first, first_b = (builder.phi(integer) for _ in range(3))
            so_far = [builder.phi(kinds[v]) for _, v in tile]
            last = builder.add(first, depth)
            builder.branch(part)

            builder.position_at_end(part)
            part_k, part_b = builder.phi(integer), builder.phi(integer)
            part_sums = [builder.phi(kinds[v]) for _, v in tile]
            with builder.if_then(builder.icmp_signed("!=", a_ahead, integer(0))):
                to_fetch = builder.add(builder.load(element(psteps, part_k)), a_ahead)
                for start in starts:
                    _fetch(builder, element(start, to_fetch))
            with builder.if_then(builder.icmp_signed("!=", ahead, integer(0))):
                to_fetch = builder.add(part_b, ahead)
                for _ in range(FETCHED):
                    _fetch(builder, element(pb, to_fetch))
                    to_fetch = builder.add(to_fetch, b_row)
            end = builder.add(part_k, integer(FETCHED))
            end = builder.select(builder.icmp_signed("<", end, last), end, last)
            fetched = builder.block
            builder.branch(loop)

            builder.position_at_end(loop)
            k, at_b = builder.phi(integer), builder.phi(integer)
            sums = [builder.phi(kinds[v]) for _, v in tile]
            columns = [load_columns(v, columns_at(pb, v, at_b)) for v in range(len(widths))]
            step = builder.load(element(psteps, k))
            more = []
            for i, start in enumerate(starts):  # one by one: eight at a time take eight registers
                factor = builder.load(element(start, step))
                wide = {w: everywhere(builder, w, factor) for w in widths}
                for v, w in enumerate(widths):
                    more.append(fma(v, wide[w], columns[v], sums[i * len(widths) + v]))
            following, following_b = builder.add(k, integer(1)), builder.add(at_b, b_row)
            again = builder.cbranch(builder.icmp_signed("<", following, end), loop, passed)
            as_it_stands(builder.module, loop, again)

            builder.position_at_end(passed)
            builder.cbranch(builder.icmp_signed("<", following, last), part, ended)

            builder.position_at_end(ended)
            done = builder.add(ran, integer(1))
            behind, behind_b = (
                builder.add(following, gap), builder.add(following_b, builder.mul(gap, b_row))
            )  # fmt: skip
            builder.cbranch(builder.icmp_signed("<", done, runs), run, after)
            for phi, from_entry, from_ended in [
                (ran, integer(0), done), (first, k0, behind), (first_b, q, behind_b),
                *zip(so_far, nothings, more),
            ]:  # fmt: skip
                phi.add_incoming(from_entry, entry)
                phi.add_incoming(from_ended, ended)
            for of_part, phi, from_run, from_loop in [
                (part_k, k, first, following), (part_b, at_b, first_b, following_b),
                *zip(part_sums, sums, so_far, more),
            ]:  # fmt: skip
                of_part.add_incoming(from_run, run)
                of_part.add_incoming(from_loop, passed)
                phi.add_incoming(of_part, fetched)
                phi.add_incoming(from_loop, loop)

            builder.position_at_end(after)

            for (i, v), total in zip(tile, more):
                at = builder.add(t, builder.mul(integer(i), to_row))
                place = columns_at(pto, v, at)
                store_columns(v, builder.fadd(load_columns(v, place), total), place)
            return target.get_dummy_value()

        return signature, write

    return typed


def call(builder: Any, name: str, kind: Any, args: list[Any]) -> Any:
    """One of LLVM's own functions."""
    from llvmlite import ir
    from numba.core.cgutils import get_or_insert_function

    of_kind = ir.FunctionType(kind, [a.type for a in args])
    function = get_or_insert_function(builder.module, of_kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, args)


def everywhere(builder: Any, width: int, value: Any) -> Any:
    """A vector of copies of a number."""
    from llvmlite import ir

    nothing = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, nothing, zeros)


def _fetch(builder: Any, place: Any) -> None:
    """Data, to be read, into the second cache: there is more of it than the first holds."""
    from llvmlite import ir

    byte, option = ir.IntType(8).as_pointer(), ir.IntType(32)
    args = [builder.bitcast(place, byte), option(0), option(2), option(1)]
    call(builder, "llvm.prefetch.p0i8", ir.VoidType(), args)


def as_it_stands(module: Any, loop: Any, branch: Any) -> None:
    """Keep LLVM from unrolling a loop: two passes at once need more registers than there are.

    LLVM knows a loop by a node whose first entry is itself.
    """
    never = module.add_metadata(["llvm.loop.unroll.disable"])
    this = module.add_metadata([never, loop.name])
    this.operands = (this, never)
    branch.set_metadata("llvm.loop", this)


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
