"""Products of vectors and matrices: PyTorch's face of ``ops.linalg``. Dtypes must agree."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from ..amp.lists import in_widest, is_active
from ..dtypes import is_floating
from ..grad_mode import no_autocast
from ..ops import basic, linalg
from ..tensor import Tensor
from . import pointwise
from .arguments import check_tensor, wrap_dims
from .promotion import dtype_name, not_implemented, shapes_error, to_dtype

__all__ = [
    "addmm", "addmv", "addbmm", "baddbmm", "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner",
    "outer", "ger", "einsum", "tensordot",
]  # fmt: skip
METHODS = tuple(name for name in __all__ if name not in ("einsum", "tensordot"))
INPLACE = ("addmm", "addmv", "addbmm", "baddbmm")


def _pair(name: str, a: Any, b: Any, second: str = "other") -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype that has a product."""
    a, b = check_tensor(name, a), check_tensor(name, b, second)
    if a.array.dtype != b.array.dtype and not (is_active(a) and is_active(b)):
        raise RuntimeError(
            f"{name}: expected both tensors to have the same dtype, but got"
            f" {dtype_name(a.array.dtype)} and {dtype_name(b.array.dtype)} (cast one: .to(dtype))"
        )
    if a.array.dtype.kind == "b":
        raise not_implemented(name, a)
    return a, b


def _shape(x: Tensor) -> str:
    return "x".join(map(str, x.array.shape))


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; the dims before the last two broadcast. A vector on the left is a row,
    on the right a column. RuntimeError if the inner sizes differ."""
    a, b = _pair("matmul", input, other)
    if not a.array.ndim or not b.array.ndim:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are"
            f" {a.array.ndim}D and {b.array.ndim}D (use * to multiply by a number)"
        )
    k, n = a.array.shape[-1], b.array.shape[max(b.array.ndim - 2, 0)]
    if k != n:
        left = _shape(a) if a.array.ndim > 1 else f"1x{k}"
        right = _shape(b) if b.array.ndim > 1 else f"{n}x1"
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({left} and {right}): the last size of the"
            f" first, {k}, must equal the {'' if b.array.ndim == 1 else 'second last '}size of the"
            f" second, {n}"
        )
    try:
        return linalg.matmul(a, b)
    except ValueError as error:
        batches = a.array.shape[:-2], b.array.shape[:-2]
        raise shapes_error("batches in matmul", *batches) or error from None


def _ranked(name: str, ranks: tuple[int, int], a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a, b = _pair(name, a, b, "mat2" if ranks[1] > 1 else "vec")
    if (a.array.ndim, b.array.ndim) != ranks:
        raise RuntimeError(
            f"{name}: expected a {ranks[0]}D and a {ranks[1]}D tensor, got shapes {list(a.shape)}"
            f" and {list(b.shape)}"
        )
    return a, b


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (M, K) and (K, N)."""
    return matmul(*_ranked("mm", (2, 2), input, mat2))


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (M, K) and a vector (K)."""
    return matmul(*_ranked("mv", (2, 1), input, vec))


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices, (B, M, K) and (B, K, N)."""
    a, b = _ranked("bmm", (3, 3), input, mat2)
    B, _, K = a.array.shape
    if b.array.shape[:2] != (B, K):
        raise RuntimeError(
            f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{B}, {K}] but"
            f" got: {list(b.array.shape[:2])} (shapes {list(a.shape)} and {list(b.shape)})"
        )
    return matmul(a, b)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors of one length."""
    a, b = _ranked("dot", (1, 1), input, tensor)
    if a.array.shape != b.array.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor {list(a.shape)} and src {list(b.shape)} to"
            " have the same number of elements"
        )
    a, b = in_widest(a, b)
    with no_autocast():
        return matmul(a, b)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """``dot``: the two differ for complex numbers only."""
    return dot(input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dim of both."""
    a, b = _pair("inner", input, other)
    if not a.array.ndim or not b.array.ndim:
        return pointwise.mul(a, b)
    if a.array.shape[-1] != b.array.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes"
            f" {list(a.shape)} and {list(b.shape)}"
        )
    return _tensordot(a, b, ([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """y[i, j] = input[i] vec2[j] of two vectors."""
    for name, x in (("self", check_tensor("outer", input)), ("vec2", check_tensor("outer", vec2))):
        if x.array.ndim != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {name}, but got {x.array.ndim}-D: {list(x.shape)}"
            )
    return pointwise.mul(input[:, None], vec2)


def _weighted(name: str, input: Any, y: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta input + alpha y, where ``input`` may be smaller than the product but not larger."""
    x = check_tensor(name, input)
    if is_active(x):
        x = to_dtype(x, y.array.dtype)
    if x.array.dtype != y.array.dtype:
        raise RuntimeError(
            f"{name}: input and matrices must have the same dtype, but got"
            f" {dtype_name(x.array.dtype)} and {dtype_name(y.array.dtype)}"
        )
    if not is_floating(y.array.dtype) and (isinstance(beta, float) or isinstance(alpha, float)):
        raise RuntimeError(
            f"{name}: For integral input tensors, beta and alpha must not be floating point numbers"
        )
    shape = y.array.shape
    if x.array.ndim > len(shape) or not _expands_to(x.array.shape, shape):
        raise RuntimeError(
            f"{name}: the input of shape {list(x.shape)} cannot be expanded to the product's shape"
            f" {list(shape)}"
        )
    if alpha != 1:
        y = pointwise.mul(y, alpha)
    if beta == 0:  # not even NaN of the input counts
        nowhere = Tensor._wrap(np.zeros((), np.bool_))
        return basic.where(nowhere, x, y) if x.requires_grad else y
    return pointwise.add(x if beta == 1 else pointwise.mul(x, beta), y)


def _expands_to(small: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    tail = shape[len(shape) - len(small) :]
    return all(m in (1, n) for m, n in zip(small, tail))


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha mat1 mat2."""
    y = mm(mat1, mat2)
    return _weighted("addmm", input, y, beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat vec."""
    y = mv(mat, vec)
    return _weighted("addmv", input, y, beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha batch1 batch2, for each matrix of the batch."""
    y = bmm(batch1, batch2)
    return _weighted("baddbmm", input, y, beta, alpha)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha times the sum over the batch of batch1 batch2."""
    y = einsum("bij,bjk->ik", *_ranked("addbmm", (3, 3), batch1, batch2))
    return _weighted("addbmm", input, y, beta, alpha)


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Sum of products over the last ``dims`` dims of a and the first of b, or over listed pairs."""
    a, b = in_widest(check_tensor("tensordot", a), check_tensor("tensordot", b, "b"))
    with no_autocast():
        return _tensordot(a, b, dims)


def _tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]]) -> Tensor:
    a, b = _pair("tensordot", a, b, "b")
    m, n = a.array.ndim, b.array.ndim
    if isinstance(dims, int):
        if not 0 <= dims <= min(m, n):
            raise RuntimeError(f"tensordot expects dims from 0 to {min(m, n)}, but got dims={dims}")
        pairs = tuple(range(m - dims, m)), tuple(range(dims))
    else:
        pairs = wrap_dims("tensordot", dims[0], m), wrap_dims("tensordot", dims[1], n)
    of_a = list(ascii_letters[:m])
    of_b = list(ascii_letters[m : m + n])
    for i, j in zip(*pairs, strict=True):
        of_b[j] = of_a[i]
    kept = [c for c in of_a if c not in of_b] + [c for c in of_b if c not in of_a]
    return einsum(f"{''.join(of_a)},{''.join(of_b)}->{''.join(kept)}", a, b)


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by Einstein's convention: ``einsum("bij,bjk->bik", a, b)``.

    Letters that are missing after ``->`` are summed over; without ``->`` those that occur once
    remain, in alphabetical order. ``...`` stands for any dims, which broadcast.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    tensors = [check_tensor("einsum", x, "operands") for x in operands]
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    for x in tensors[1:]:
        _pair("einsum", tensors[0], x)
    inputs, output = _subscripts(equation, tensors)
    _check_sizes(equation, inputs, tensors)
    return linalg.einsum(*tensors, inputs=inputs, output=output)


def _subscripts(equation: str, tensors: list[Tensor]) -> tuple[tuple[str, ...], str]:
    """The letters of each operand and of the result, the dots replaced by unused letters."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(tensors):
        raise RuntimeError(
            f"einsum(): {equation!r} has subscripts for {len(inputs)} operands, got {len(tensors)}"
        )
    free = [c for c in ascii_letters if c not in equation]
    longest = ""
    spelled = []
    for i, (subscripts, x) in enumerate(zip(inputs, tensors)):
        count = x.array.ndim - len(subscripts.replace("...", ""))
        dots = "".join(free[:count][::-1]) if "..." in subscripts and count > 0 else ""
        if count < 0 or (count and "..." not in subscripts) or subscripts.count(".") not in (0, 3):
            raise RuntimeError(
                f"einsum(): the number of subscripts in {subscripts!r} does not match the"
                f" dimensions of operand {i}, of shape {list(x.shape)}"
            )
        longest = max(longest, dots, key=len)
        spelled.append(subscripts.replace("...", dots))
    together = "".join(spelled)
    if not arrow:
        once = sorted(c for c in set(together) if together.count(c) == 1 and c not in longest)
        return tuple(spelled), longest + "".join(once)
    result = output.replace("...", longest)
    if len(set(result)) != len(result) or not set(result) <= set(together):
        raise RuntimeError(
            f"einsum(): every subscript of the output {output!r} must occur in it once and in some"
            f" operand of {left!r}"
        )
    if not (together + result).isalpha() and together + result:
        raise RuntimeError(f"einsum(): subscripts must be letters, got {equation!r}")
    return tuple(spelled), result


def _check_sizes(equation: str, inputs: tuple[str, ...], tensors: list[Tensor]) -> None:
    sizes: dict[str, int] = {}
    for i, (letters, x) in enumerate(zip(inputs, tensors)):
        for c, n in zip(letters, x.array.shape):
            if n != 1 and sizes.setdefault(c, n) != n:
                raise RuntimeError(
                    f"einsum(): {equation!r}: subscript {c} has size {n} for operand {i} of shape"
                    f" {list(x.shape)}, not the {sizes[c]} of an earlier one"
                )


ger = outer
