"""The innermost loop of all dense layers, written so that its sums stay in registers.

    to[i, j] += sum over k of a[i, k] * b[k, j]        4 rows i, and V vectors' worth of columns j

``outer_products`` is that sum as plain loops. A compiler that gets to see it keeps ``to`` in memory
and loads and stores it for every few multiplications. Held in registers instead, each step k loads
V vectors of b and four numbers of a, and feeds 4 V fused multiply-adds: with V = 3 that is 117
GFLOP/s on a core whose limit is about 120, where the loops give 78 and OpenBLAS 97. Numba has no
way of saying "registers", so this one function is given to it as LLVM's intermediate
representation: a loop over k whose 4 V sums are phi nodes (values that each pass hands on).

A vector is as wide as the CPU's: 16 float32 with AVX-512, 8 with AVX, else 4.
"""

from __future__ import annotations

from typing import Any

from .backend import Array
from .jit import numba

ROWS = 4
VECTORS = 3  # 4 x 3 sums, 3 vectors of b and one number of a just fit into AVX's 16 registers


def outer_products(
    a: Array, a0: int, a1: int, a2: int, a3: int, step: int,
    b: Array, q: int, b_row: int, depth: int, to: Array, t: int, to_row: int, n: int,
) -> None:  # fmt: skip
    """to[t + i to_row + j] += sum over k < depth of a[a_i + k step] * b[q + k b_row + j], j < n."""
    for i, start in enumerate((a0, a1, a2, a3)):
        for k in range(depth):
            for j in range(n):
                to[t + i * to_row + j] += a[start + k * step] * b[q + k * b_row + j]


def _vector_bytes() -> int:
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = 16 if numba is None or numba.config.DISABLE_JIT else _vector_bytes()


def three_vectors(*args: Any) -> None:
    """outer_products of n = VECTORS vectors; this is what runs without the compiler."""
    outer_products(*(*args, VECTORS * VECTOR_BYTES // args[0].itemsize))


def one_vector(*args: Any) -> None:
    """outer_products of n = one vector."""
    outer_products(*(*args, VECTOR_BYTES // args[0].itemsize))


def _generator(vectors: int) -> Any:
    """outer_products for ``vectors`` vectors of columns, as a function that writes LLVM IR."""
    from llvmlite import ir
    from numba.core import types
    from numba.core.cgutils import get_or_insert_function

    def typed(
        context: Any, a: Any, a0: Any, a1: Any, a2: Any, a3: Any, step: Any,
        b: Any, q: Any, b_row: Any, depth: Any, to: Any, t: Any, to_row: Any,
    ) -> Any:  # fmt: skip
        n = types.intp
        signature = types.void(a, n, n, n, n, n, b, n, n, n, to, n, n)

        def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = target.get_value_type(signature.args[0].dtype)
            width = VECTOR_BYTES // (4 if isinstance(number, ir.FloatType) else 8)
            vector = ir.VectorType(number, width)
            name = f"llvm.fma.v{width}{number.intrinsic_name}"
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = get_or_insert_function(  # type: ignore[no-untyped-call]
                builder.module, kind, name
            )
            a, *starts, step, b, q, b_row, depth, to, t, to_row = arguments
            (pa, pb, pto) = (
                target.make_array(signature.args[i])(target, builder, value).data
                for i, value in ((0, a), (6, b), (10, to))
            )
            integer = depth.type

            def address(base: Any, at: Any, extra: int) -> Any:
                place = builder.gep(base, [builder.add(at, integer(extra))])
                return builder.bitcast(place, vector.as_pointer())

            def load(base: Any, at: Any, extra: int) -> Any:
                value = builder.load(address(base, at, extra))
                value.align = number.get_abi_alignment(target.target_data)
                return value

            def everywhere(value: Any) -> Any:
                nothing = ir.Constant(vector, ir.Undefined)
                first = builder.insert_element(nothing, value, ir.IntType(32)(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
                return builder.shuffle_vector(first, nothing, zeros)

            tile = [(i, v) for i in range(ROWS) for v in range(vectors)]
            rows = [builder.add(t, builder.mul(integer(i), to_row)) for i in range(ROWS)]
            before = [load(pto, rows[i], v * width) for i, v in tile]
            entry = builder.block
            loop = builder.append_basic_block("over_k")
            after = builder.append_basic_block("after")
            builder.branch(loop)

            builder.position_at_end(loop)
            k, at_a, at_b = (builder.phi(integer) for _ in range(3))
            sums = [builder.phi(vector) for _ in tile]
            columns = [load(pb, at_b, v * width) for v in range(vectors)]
            factors = [
                everywhere(builder.load(builder.gep(pa, [builder.add(start, at_a)])))
                for start in starts
            ]
            more = [
                builder.call(fma, [factors[i], columns[v], total])
                for (i, v), total in zip(tile, sums)
            ]
            advance = [(k, integer(0), integer(1)), (at_a, integer(0), step), (at_b, q, b_row)]
            nexts = [(phi, start, builder.add(phi, by)) for phi, start, by in advance]
            for phi, start, following in [*nexts, *zip(sums, before, more)]:
                phi.add_incoming(start, entry)
                phi.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", nexts[0][2], depth), loop, after)

            builder.position_at_end(after)
            for (i, v), total in zip(tile, more):
                place = builder.store(total, address(pto, rows[i], v * width))
                place.align = number.get_abi_alignment(target.target_data)
            return target.get_dummy_value()

        return signature, write

    return typed


if numba is not None and not numba.config.DISABLE_JIT:
    three_vectors = numba.extending.intrinsic(_generator(VECTORS))
    one_vector = numba.extending.intrinsic(_generator(1))
