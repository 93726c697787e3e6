"""``torch.linalg``: norms and products of vectors and matrices."""

from __future__ import annotations

from typing import Any

from .functions import unary
from .functions.arguments import check_tensor, wrap_dims
from .functions.dims import numpy_names
from .functions.linalg import matmul
from .functions.reduction import amax, amin, sum, vector_norm
from .tensor import Tensor

__all__ = ["matmul", "matrix_norm", "norm", "vector_norm"]

_NO_SVD = "needs a singular value decomposition, which minitorch_cnn does not have"


@numpy_names
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A vector norm over one dim (or over all elements without ``ord``), a matrix norm over two."""
    x = check_tensor("linalg.norm", A, "A")
    if ord is None:
        return vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if x.array.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got"
                f" shape {list(x.shape)}"
            )
        dim = tuple(range(x.array.ndim))
    if isinstance(dim, int) or len(dim) == 1:
        if isinstance(ord, str):
            raise RuntimeError(f"linalg.norm: ord={ord!r} is a matrix norm, but dim is {dim}")
        return vector_norm(x, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(x, ord, dim, keepdim, dtype=dtype)


@numpy_names
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm over two dims: Frobenius's; for 1 (-1) the largest (smallest) column sum of |A|;
    for inf (-inf) of its row sums. 2, -2 and "nuc" raise NotImplementedError."""
    x = check_tensor("linalg.matrix_norm", A, "A")
    if ord == "fro":
        return vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if ord in ("nuc", 2, -2):
        raise NotImplementedError(f"linalg.matrix_norm(ord={ord!r}) {_NO_SVD}")
    if ord not in (1, -1, float("inf"), -float("inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    row, column = wrap_dims("linalg.matrix_norm", dim, x.array.ndim)
    summed, chosen = (row, column) if abs(ord) == 1 else (column, row)
    sums = sum(unary.abs(x), summed, True, dtype=dtype)
    y = (amax if ord > 0 else amin)(sums, chosen, True)
    return y if keepdim else y.squeeze((row, column))
