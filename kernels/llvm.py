"""LLVM's intermediate representation: the words in which ``microkernel``, ``row_tile`` and
``simd_llvm`` write.

A ``builder`` appends instructions to a block of code; each function here appends some, and returns
the value that they compute.
"""

from __future__ import annotations

from typing import Any

from .jit import numba

COMPILED = numba is not None and not numba.config.DISABLE_JIT
ir: Any = None
if COMPILED:
    from llvmlite import ir as _ir

    ir = _ir


def itemsize_of(number: Any) -> int:
    """Bytes of a float or double."""
    return 4 if isinstance(number, ir.FloatType) else 8


def name_of(kind: Any) -> str:
    """What LLVM calls a type of vectors in names of functions: v16f32."""
    return f"v{kind.count}{kind.element.intrinsic_name}"


def call(builder: Any, name: str, kind: Any, args: list[Any]) -> Any:
    """One of LLVM's own functions, whose result is of this kind."""
    from numba.core.cgutils import get_or_insert_function

    of_kind = ir.FunctionType(kind, [a.type for a in args])
    function = get_or_insert_function(builder.module, of_kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, args)


def nothing(kind: Any) -> Any:
    """A vector of zeros."""
    return ir.Constant(kind, [0] * kind.count)


def everywhere(builder: Any, width: int, value: Any) -> Any:
    """A vector of copies of a number."""
    undefined = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, undefined, zeros)


def lanes_below(builder: Any, width: int, n: Any) -> Any:
    """A mask: of ``width`` lanes the first n."""
    lanes = ir.Constant(ir.VectorType(n.type, width), list(range(width)))
    return builder.icmp_signed("<", lanes, everywhere(builder, width, n))


def fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once."""
    return call(builder, f"llvm.fma.{name_of(x.type)}", x.type, [x, y, z])


def data_of(target: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where the first number of an array is."""
    return target.make_array(kind)(target, builder, array).data


def vector_at(builder: Any, base: Any, at: Any, kind: Any) -> Any:
    """Where the vector is that begins with number ``at``."""
    return builder.bitcast(builder.gep(base, [at]), kind.as_pointer())


def load_vector(builder: Any, where: Any, mask: Any = None) -> Any:
    """The vector at a place, which may be any number's; lanes that a mask leaves out are 0."""
    kind = where.type.pointee
    itemsize = itemsize_of(kind.element)
    if mask is None:
        return builder.load(where, align=itemsize)
    name = f"llvm.masked.load.{name_of(kind)}.p0{name_of(kind)}"
    return call(builder, name, kind, [where, ir.IntType(32)(itemsize), mask, nothing(kind)])


def store_vector(builder: Any, value: Any, where: Any, mask: Any = None) -> None:
    """Write a vector to a place, which may be any number's; lanes that a mask leaves out stay."""
    itemsize = itemsize_of(value.type.element)
    if mask is None:
        builder.store(value, where, align=itemsize)
        return
    name = f"llvm.masked.store.{name_of(value.type)}.p0{name_of(value.type)}"
    call(builder, name, ir.VoidType(), [value, where, ir.IntType(32)(itemsize), mask])


def fetch(builder: Any, where: Any) -> None:
    """Data, to be read, into the second cache: there is more of it than the first holds."""
    byte, option = ir.IntType(8).as_pointer(), ir.IntType(32)
    args = [builder.bitcast(where, byte), option(0), option(2), option(1)]
    call(builder, "llvm.prefetch.p0i8", ir.VoidType(), args)


def come_in(phis: list[Any], values: list[Any], block: Any) -> None:
    """Those who come from ``block`` bring these values."""
    for phi, value in zip(phis, values):
        phi.add_incoming(value, block)


def as_it_stands(module: Any, loop: Any, branch: Any) -> None:
    """Keep LLVM from unrolling a loop: two passes at once need more registers than there are.

    LLVM knows a loop by a node whose first entry is itself.
    """
    never = module.add_metadata(["llvm.loop.unroll.disable"])
    this = module.add_metadata([never, loop.name])
    this.operands = (this, never)
    branch.set_metadata("llvm.loop", this)
