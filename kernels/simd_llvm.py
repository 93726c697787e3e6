"""What ``simd`` has, for the compiler: each function writes LLVM's intermediate representation."""

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from .llvm import (
    come_in,
    data_of,
    everywhere,
    fma,
    ir,
    lanes_below,
    load_vector,
    nothing,
    store_vector,
    vector_at,
)
from .microkernel import VECTOR_BYTES


class Vector(types.Type):
    """A vector of float32 or float64."""

    def __init__(self, number: Any) -> None:
        self.number = number
        self.lanes = VECTOR_BYTES // (number.bitwidth // 8)
        super().__init__(name=f"Vector({number} x {self.lanes})")


def _llvm_type(kind: Any) -> Any:
    number = ir.FloatType() if kind.number is types.float32 else ir.DoubleType()
    return ir.VectorType(number, kind.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A Vector is one LLVM vector, and so lives in a register."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _llvm_type(kind))  # type: ignore[no-untyped-call]


def _teach_operator(symbol: Any, instruction: str) -> None:
    class Template(AbstractTemplate):
        def generic(self, args: Any, keywords: Any) -> Any:
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if vector is not None and len(args) == 2:
                # A number takes part as a vector of its copies.
                return signature(  # type: ignore[no-untyped-call]
                    vector, *(a if a is vector else vector.number for a in args)
                )
            return None

    infer_global(symbol)(Template)  # type: ignore[no-untyped-call]

    def lower(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _llvm_type(signature.return_type)
        x, y = (
            value if isinstance(a, Vector) else everywhere(builder, kind.count, value)
            for a, value in zip(signature.args, args)
        )
        return getattr(builder, instruction)(x, y, flags=("contract",))

    for pair in (Vector, Vector), (types.Float, Vector), (Vector, types.Float):
        lower_builtin(symbol, *pair)(lower)  # type: ignore[no-untyped-call]


for symbol, instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
):  # fmt: skip
    _teach_operator(symbol, instruction)


@intrinsic
def load(context: Any, a: Any, i: Any) -> Any:
    """a[i : i + lanes]."""
    vector = Vector(a.dtype)

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _llvm_type(vector)
        base = data_of(target, builder, signature.args[0], arguments[0])
        return load_vector(builder, vector_at(builder, base, arguments[1], kind))

    return vector(a, types.intp), write


@intrinsic
def load_inside(context: Any, a: Any, i: Any, low: Any, high: Any) -> Any:
    """a[i + j] for lanes j with low <= j < high, 0 for the others, which are not read."""
    vector = Vector(a.dtype)

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _llvm_type(vector)
        _, i, low, high = arguments
        base = data_of(target, builder, signature.args[0], arguments[0])
        below_low, below_high = (lanes_below(builder, kind.count, n) for n in (low, high))
        mask = builder.and_(builder.not_(below_low), below_high)
        return load_vector(builder, vector_at(builder, base, i, kind), mask)

    n = types.intp
    return vector(a, n, n, n), write


@intrinsic
def store(context: Any, a: Any, i: Any, v: Any) -> Any:
    """a[i : i + lanes] = v."""

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _llvm_type(v)
        base = data_of(target, builder, signature.args[0], arguments[0])
        store_vector(builder, arguments[2], vector_at(builder, base, arguments[1], kind))
        return target.get_dummy_value()

    return types.void(a, types.intp, v), write


@intrinsic
def stream(context: Any, a: Any, i: Any, v: Any) -> Any:
    """a[i : i + lanes] = v, past the caches if a[i] lies at a boundary."""

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _llvm_type(v)
        base = data_of(target, builder, signature.args[0], arguments[0])
        place = vector_at(builder, base, arguments[1], kind)
        n = arguments[1].type
        within = builder.and_(builder.ptrtoint(place, n), n(VECTOR_BYTES - 1))
        with builder.if_else(builder.icmp_unsigned("==", within, n(0))) as (then, other):
            with then:
                streamed = builder.store(arguments[2], place)
                streamed.align = VECTOR_BYTES
                only_value = builder.module.add_metadata([ir.IntType(32)(1)])
                streamed.set_metadata("nontemporal", only_value)
            with other:
                store_vector(builder, arguments[2], place)
        return target.get_dummy_value()

    return types.void(a, types.intp, v), write


@intrinsic
def past_boundary(context: Any, a: Any, i: Any) -> Any:
    """How many numbers before a[i] lies the last boundary."""
    size = a.dtype.bitwidth // 8

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = data_of(target, builder, signature.args[0], arguments[0])
        n = arguments[1].type
        address = builder.ptrtoint(builder.gep(base, [arguments[1]]), n)
        return builder.udiv(builder.and_(address, n(VECTOR_BYTES - 1)), n(size))

    return types.intp(a, types.intp), write


@intrinsic
def at_least(context: Any, v: Any, least: Any) -> Any:
    """The larger of each number of v and ``least``; NaN stays."""

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        least = everywhere(builder, v.lanes, arguments[1])
        less = builder.fcmp_ordered("<", arguments[0], least)  # "ordered": not if NaN
        return builder.select(less, least, arguments[0])

    return v(v, v.number), write


@intrinsic
def where_above_zero(context: Any, y: Any, v: Any) -> Any:
    """The numbers of v where y > 0 or NaN, else 0."""

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        y, v = arguments
        zeros = nothing(v.type)
        return builder.select(builder.fcmp_ordered("<=", y, zeros), zeros, v)

    return v(y, v), write


@intrinsic
def choose(context: Any, x: Any, v: Any, w: Any) -> Any:
    """The numbers of v where x > 0, else (and where x is NaN) those of w."""

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, v, w = arguments
        return builder.select(builder.fcmp_ordered(">", x, nothing(x.type)), v, w)

    return v(x, v, w), write


@intrinsic
def transpose(
    context: Any, source: Any, s: Any, s_row: Any, rows: Any, to: Any, t: Any, t_row: Any,
    columns: Any,
) -> Any:  # fmt: skip
    """A square of numbers, all of it in registers."""
    n = types.intp
    vector = Vector(source.dtype)

    def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _llvm_type(vector)
        lanes = vector.lanes
        source, s, s_row, rows, to, t, t_row, columns = arguments
        source = data_of(target, builder, signature.args[0], source)
        to = data_of(target, builder, signature.args[4], to)

        def row(start: Any, step: Any, i: int, count: Any) -> Any:
            index = s.type(i)
            last = builder.sub(count, s.type(1))
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            return builder.add(start, builder.mul(index, step))

        vectors = [
            load_vector(builder, vector_at(builder, source, row(s, s_row, i, rows), kind))
            for i in range(lanes)
        ]
        half = lanes // 2
        picks = ir.VectorType(ir.IntType(32), lanes)
        first, second = (
            ir.Constant(picks, [h + i // 2 + i % 2 * lanes for i in range(lanes)])
            for h in (0, half)
        )
        # Interleaving row i with row i + half, for all i, moves every number's position,
        # seen as the bits of (row, column), round by one bit; log2(lanes) times exchange
        # row and column.
        for _ in range(lanes.bit_length() - 1):
            vectors = [
                builder.shuffle_vector(vectors[i], vectors[i + half], pick)
                for i in range(half)
                for pick in (first, second)
            ]
        # From the last row down: a row beyond the last is overwritten by it.
        for j in reversed(range(lanes)):
            to_place = vector_at(builder, to, row(t, t_row, j, columns), kind)
            store_vector(builder, vectors[j], to_place)
        return target.get_dummy_value()

    return types.void(source, n, n, n, to, n, n, n), write


def product(rows: int, wide: int) -> Any:
    """The product for blocks of ``rows`` rows and ``wide`` vectors."""

    def typed(
        context: Any, a: Any, p: Any, a_row: Any, a_step: Any, b: Any, q: Any, b_row: Any,
        depth: Any, to: Any, t: Any, to_row: Any, more: Any,
    ) -> Any:  # fmt: skip
        n = types.intp
        vector = Vector(a.dtype)

        def write(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = _llvm_type(vector)
            a, p, a_row, a_step, b, q, b_row, depth, to, t, to_row, more = arguments
            a, b, to = (
                data_of(target, builder, signature.args[i], value)
                for i, value in ((0, a), (4, b), (8, to))
            )
            integer = p.type
            tile = [(i, v) for i in range(rows) for v in range(wide)]
            starts = [builder.add(p, builder.mul(integer(i), a_row)) for i in range(rows)]

            def to_place(i: int, v: int) -> Any:
                at = builder.add(t, builder.mul(integer(i), to_row))
                at = builder.add(at, integer(v * vector.lanes))
                return vector_at(builder, to, at, kind)

            entry = builder.block
            there = builder.append_basic_block("there")
            loop = builder.append_basic_block("over_k")
            after = builder.append_basic_block("after")
            builder.cbranch(more, there, loop)
            builder.position_at_end(there)
            before = [load_vector(builder, to_place(i, v)) for i, v in tile]
            builder.branch(loop)

            builder.position_at_end(loop)
            k, at_a, at_b = (builder.phi(integer) for _ in range(3))
            sums = [builder.phi(kind) for _ in tile]
            columns = []
            for v in range(wide):
                at = builder.add(at_b, integer(v * vector.lanes))
                columns.append(load_vector(builder, vector_at(builder, b, at, kind)))
            numbers = (builder.load(builder.gep(a, [builder.add(at_a, start)])) for start in starts)
            factors = [everywhere(builder, kind.count, number) for number in numbers]
            totals = [
                fma(builder, factors[i], columns[v], total)
                for (i, v), total in zip(tile, sums)
            ]
            following = builder.add(k, integer(1))
            carried, starts_at = [k, at_a, at_b, *sums], [integer(0), integer(0), q]
            come_in(carried, [*starts_at, *(nothing(kind) for _ in tile)], entry)
            come_in(carried, [*starts_at, *before], there)
            come_in(
                carried,
                [following, builder.add(at_a, a_step), builder.add(at_b, b_row), *totals],
                loop,
            )
            builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)

            builder.position_at_end(after)
            for (i, v), total in zip(tile, totals):
                store_vector(builder, total, to_place(i, v))
            return target.get_dummy_value()

        return types.void(a, n, n, n, b, n, n, n, to, n, n, types.boolean), write

    return intrinsic(typed)
