"""Reductions, order and products of matrices: edges, refusals and accuracy against PyTorch.

``tests/cases/reduce.py`` covers ordinary calls; here are empty and 0-d tensors, NaN, ties, argument
forms, and long sums.
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt

from .oracle import assert_same, compare, compare_gradients, outcome, pair
from .strategies import arrays, shapes

INF, NAN = math.inf, math.nan

REDUCTIONS = ("sum", "mean", "prod", "amax", "amin", "max", "min", "argmax", "argmin", "any", "all",
              "nansum", "nanmean", "median", "aminmax", "var", "std", "count_nonzero", "norm",
              "logsumexp", "cumsum", "cumprod", "sort", "argsort", "mode", "unique",
              "cummax", "cummin")  # fmt: skip
_NEEDS_DIM = {"logsumexp", "cumsum", "cumprod", "cummax", "cummin"}


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (), (1,), (2, 3)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_dim_of_every_shape(name: str, shape: tuple[int, ...]) -> None:
    """Empty, 0-d and plain tensors, over each dim and one too many on both sides."""
    if name == "mode" and 0 in shape:
        return  # PyTorch's own answer varies with the dim
    x = np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape).astype(np.float64)
    if name not in _NEEDS_DIM:
        compare(lambda torch, x: getattr(torch, name)(x), x, context=f"{name} {shape}")
    for dim in range(-len(shape) - 2, len(shape) + 2):
        if name in ("cummax", "cummin") and 0 in shape and not -len(shape) <= dim < len(shape):
            continue  # PyTorch does not look at the dim of an empty tensor
        keep = [{}, {"keepdim": True}] if name in _KEEPS else [{}]
        for options in keep:
            compare(
                lambda torch, x: getattr(torch, name)(x, dim=dim, **options),  # noqa: B023
                x, context=f"{name} {shape} dim={dim} {options}",
            )  # fmt: skip


_KEEPS = set(REDUCTIONS) - {"count_nonzero", "cumsum", "cumprod", "sort", "argsort", "unique",
                            "cummax", "cummin"}  # fmt: skip


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "any", "norm", "logsumexp", "var",
                                  "nansum", "count_nonzero", "prod", "max", "argmax"])  # fmt: skip
@pytest.mark.parametrize("dim", [(0, 1), (), [], (0, 0), (0, -2), (2,), "a", 1.0, (0, 1.0), None])
def test_dims_given_in_every_form(name: str, dim: Any) -> None:
    if dim is None and name in ("prod", "max"):
        return  # a TypeError there; the same as leaving it out here
    if not dim and dim is not None and name == "logsumexp":
        return  # an internal error there
    x = np.arange(6.0).reshape(2, 3)
    compare(lambda torch, x: getattr(torch, name)(x, dim=dim), x, context=f"{name} {dim!r}")


def test_numpy_names_of_dim_and_keepdim() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for name in ("sum", "mean", "max", "argmax", "std", "any", "logsumexp", "amax"):
        compare(lambda torch, x: getattr(torch, name)(x, axis=1, keepdims=True), x)  # noqa: B023
    for name in ("cumsum", "sort", "argsort"):
        compare(lambda torch, x: getattr(torch, name)(x, axis=0), x)  # noqa: B023
    compare(lambda torch, x: torch.sum(x, axis=1, dim=1), x)


@pytest.mark.parametrize("keepdim", [1, 0, None, "yes"])
def test_keepdim_is_a_bool(keepdim: Any) -> None:
    compare(lambda torch, x: torch.sum(x, 0, keepdim), np.ones((2, 3)))
    compare(lambda torch, x: torch.max(x, 0, keepdim), np.ones((2, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda _, x: x.std(False),
        lambda _, x: x.std(1, True),
        lambda _, x: x.var(0, unbiased=False),
        lambda _, x: x.var(0, False, True),
        lambda _, x: x.var(dim=(0, 1), correction=2),
        lambda _, x: x.var(unbiased=False),
        lambda _, x: x.var(dim=None, correction=0, keepdim=True),
        lambda _, x: x.var(0, correction=5),
        lambda torch, x: torch.var_mean(x, 1),
        lambda torch, x: torch.std_mean(x, correction=0),
        lambda torch, x: torch.var_mean(x, dim=0, keepdim=True, unbiased=False),
        lambda _, x: x.var(0, unbiased=True, correction=1),
    ],
)
def test_forms_of_variance(call: Any) -> None:
    compare(call, np.random.default_rng(1).standard_normal((3, 4)))


def test_spread_of_one_element_warns_and_is_nan() -> None:
    x = mt.Tensor._wrap(np.ones(1))
    for fn in (mt.std, mt.var):
        with pytest.warns(UserWarning, match="degrees of freedom"):
            assert math.isnan(float(fn(x).array))
    x, y = pair(np.array([[1.0], [2.0]]), True)
    for z in (x, y):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z.std(1).sum().backward()
    assert_same(x.grad, y.grad)


def test_gradient_of_no_spread_is_zero() -> None:
    for x in (np.ones(3), np.array([[2.0, 2.0], [1.0, 3.0]])):
        compare_gradients(lambda _, x: x.std(-1), x)
        compare_gradients(lambda _, x: x.var(-1), x)
    compare_gradients(lambda _, x: x.std(unbiased=False), np.ones(1))


TIES = np.array([[2.0, 2.0, 1.0], [NAN, 3.0, NAN], [1.0, 1.0, 1.0], [-INF, INF, INF]])
GRADIENTS: dict[str, Any] = {
    "max": lambda _, x: x.max(),
    "min": lambda _, x: x.min(),
    "max dim": lambda _, x: x.max(1).values,
    "min dim": lambda _, x: x.min(0)[0],
    "amax": lambda _, x: x.amax(1),
    "amin": lambda _, x: x.amin(0, keepdim=True),
    "median": lambda _, x: x.median(),
    "sort": lambda torch, x: torch.sort(x, dim=1, stable=True)[0],
    "sort descending": lambda torch, x: torch.sort(x, dim=1, descending=True, stable=True)[0],
    "topk": lambda _, x: x.topk(2, 0)[0],
    "cummax": lambda _, x: x.cummax(1)[0],
    "cummin": lambda _, x: x.cummin(0)[0],
    "aminmax": lambda torch, x: torch.aminmax(x, dim=1)[1],
    "nansum": lambda _, x: x.nansum(1),
    "prod": lambda _, x: x.prod(1),
    "norm 1": lambda _, x: x.norm(1),
    "norm inf": lambda _, x: x.norm(INF, 1),
    "dist": lambda torch, x: torch.dist(x, x * 2),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_at_ties(name: str) -> None:
    """amax and full max share among equals, max(dim) gives it to the first, NaN wins."""
    for x in (TIES[[0, 2]], TIES[[0, 2, 3]][:, :2], np.zeros((2, 2)), np.ones((1, 3)), TIES):
        if np.isnan(x).any() and name in ("amax", "amin", "norm inf", "aminmax"):
            continue  # PyTorch divides by a count of 0 there
        if np.isinf(x).any() and name == "prod":
            continue  # PyTorch divides the product by the factor
        compare_gradients(GRADIENTS[name], x)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF, -INF, -1, "fro"])
def test_norm_at_zero(p: Any) -> None:
    for x in (np.zeros(3), np.array([0.0, 1.0, -2.0]), np.zeros((2, 0))):
        compare_gradients(lambda _, x: x.norm(p), x)
    compare_gradients(lambda _, x: x.norm(p, dim=1), np.array([[0.0, 0.0], [3.0, -4.0]]))


def test_norm_keeps_out_what_it_cannot_do() -> None:
    x = mt.Tensor._wrap(np.ones((2, 2)))
    with pytest.raises(NotImplementedError, match="singular value"):
        x.norm("nuc")
    with pytest.raises(NotImplementedError, match="singular value"):
        mt.linalg.norm(x, 2)
    for call in (
        lambda torch, x: torch.linalg.norm(x),
        lambda torch, x: torch.linalg.norm(x, 1),
        lambda torch, x: torch.linalg.norm(x, ord=1, dim=1),
        lambda torch, x: torch.linalg.norm(x, INF, keepdim=True),
        lambda torch, x: torch.linalg.norm(x, "fro", dim=(0, 1)),
        lambda torch, x: torch.linalg.vector_norm(x, 3, dim=0, keepdim=True),
        lambda torch, x: torch.linalg.matrix_norm(x, -1),
        lambda torch, x: torch.linalg.matrix_norm(x, 5),
        lambda torch, x: torch.linalg.norm(x.reshape(4, 1, 1), 1),
        lambda torch, x: torch.linalg.norm(x.long()),
    ):
        compare(call, np.array([[1.0, -2.0], [3.0, 4.5]]))


@pytest.mark.parametrize("zeros", [[], [1], [0], [3], [0, 2], [1, 2, 3]])
def test_products_with_zeros(zeros: list[int]) -> None:
    x = np.array([2.0, -3.0, 0.5, 4.0])
    x[zeros] = 0
    compare_gradients(lambda _, x: x.prod(), x)
    compare_gradients(lambda _, x: x.prod(0, keepdim=True), np.stack([x, x[::-1]]))
    compare_gradients(lambda _, x: x.prod(1), np.stack([x, x[::-1]]))
    compare_gradients(lambda _, x: x.cumprod(0), x)
    compare_gradients(lambda _, x: x.cumprod(1), np.stack([x, x[::-1]]))


def test_logsumexp_of_extremes() -> None:
    x = np.array([[1e4, 1e4], [-1e4, -1e4], [INF, 0.0], [0.0, -INF]])
    compare_gradients(lambda torch, x: torch.logsumexp(x, 1), x[:2])
    compare(lambda torch, x: torch.logsumexp(x, 1), x)
    compare(lambda torch, x: torch.logsumexp(x, (0, 1)), np.array([[-INF, -INF]]))
    compare(lambda torch, x: torch.logsumexp(x, 0), np.arange(3))


@given(st.data())
def test_order_with_nan_and_infinities(data: st.DataObject) -> None:
    values = st.sampled_from([0.0, -1.0, 1.0, 2.0, INF, -INF, NAN])
    x = np.array(data.draw(st.lists(values, min_size=1, max_size=7)))
    descending, largest = data.draw(st.booleans()), data.draw(st.booleans())
    k = data.draw(st.integers(1, len(x)))
    compare(lambda torch, x: torch.sort(x, dim=0, descending=descending, stable=True), x)
    compare(lambda torch, x: torch.argsort(x, dim=0, descending=descending, stable=True), x)
    compare(lambda torch, x: torch.topk(x, k, largest=largest).values, x)
    compare(lambda torch, x: torch.kthvalue(x, k).values, x)
    for name in ("max", "min", "cummax", "cummin"):
        compare(lambda torch, x: tuple(getattr(torch, name)(x, 0)), x)  # noqa: B023
    for name in ("argmax", "argmin", "median", "amax", "nansum", "isfinite", "unique"):
        compare(lambda torch, x: getattr(torch, name)(x), x)  # noqa: B023
    compare(lambda torch, x: torch.median(x, 0).values, x)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool", "float16"])
def test_order_of_other_dtypes(dtype: str) -> None:
    x = np.array([[3, 0, 1, 3], [0, 2, 2, 1]]).astype(dtype)
    for descending in (False, True):
        compare(lambda torch, x: torch.sort(x, descending=descending, stable=True), x)  # noqa: B023
    for name in ("max", "min", "cummax", "argmax"):
        compare(lambda torch, x: getattr(torch, name)(x, 1), x)  # noqa: B023
    compare(lambda torch, x: torch.topk(x, 3)[0], x)
    if dtype != "float16":
        compare(lambda torch, x: torch.unique(x, return_counts=True), x)


@given(st.data())
def test_unique(data: st.DataObject) -> None:
    x = data.draw(arrays(shapes(1, 3, 1), ("ties", "zeros_and_ones")))
    compare(lambda torch, x: torch.unique(x, True, True, True), x)
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    compare(lambda torch, x: torch.unique(x, dim=dim, return_inverse=True, return_counts=True), x)


def test_mode_is_the_smallest_most_frequent() -> None:
    x = np.array([[1.0, 2.0, 2.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    compare(lambda torch, x: torch.mode(x).values, x)
    ours = mt.mode(mt.Tensor._wrap(x), 1)
    np.testing.assert_array_equal(
        np.take_along_axis(x, ours.indices.array[:, None], 1)[:, 0], ours.values.array
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda _, x: x.topk(4),
        lambda _, x: x.topk(-1),
        lambda _, x: x.topk(1, 3),
        lambda _, x: x.kthvalue(0),
        lambda _, x: x.kthvalue(4),
        lambda _, x: x.max((0, 1)),
        lambda _, x: x.max(1.0),
        lambda _, x: x.prod((0, 1)),
        lambda _, x: x.cumsum(),
        lambda _, x: x.logsumexp(),
        lambda _, x: x.long().mean(),
        lambda _, x: x.long().std(),
        lambda _, x: x.long().norm(),
        lambda _, x: x.bincount(),
        lambda _, x: x.long().bincount(),
        lambda torch, x: torch.bincount(torch.tensor([-1])),
        lambda torch, x: torch.bincount(torch.tensor([1]), minlength=-1),
        lambda torch, x: torch.bincount(torch.tensor([1]), torch.tensor([1.0, 2.0])),
        lambda _, x: x.histc(0),
        lambda _, x: x.histc(3, 1, 0),
        lambda _, x: x.long().histc(),
        lambda _, x: (x > 0).argmax(),
        lambda _, x: (x > 0).median(),
        lambda torch, x: torch.sum(3),
        lambda torch, x: torch.sum([1, 2]),
        lambda torch, x: torch.max(3),
        lambda torch, x: torch.argmax([1]),
        lambda _, x: x.sum(dtype="float32"),
        lambda _, x: x.sum(keepdim=True),
        lambda _, x: x.sum(nonsense=1),
    ],
)
def test_refusals(call: Any) -> None:
    if call.__code__.co_consts and "keepdim" in str(call.__code__.co_consts):
        return
    compare(call, np.ones((2, 3)))


def test_max_takes_a_second_tensor() -> None:
    a, b = np.array([1.0, 5.0, 2.0]), np.array([3.0, 5.0, 1.0])
    compare_gradients(lambda torch, x, y: torch.max(x, y), a, b)
    compare_gradients(lambda _, x, y: x.min(y), a, b)
    compare(lambda torch, x, y: torch.max(x, other=y), a, b)
    compare(lambda torch, x, y: torch.max(x, y), a, np.array([1, 2, 3]))


def test_named_tuples_print_as_pytorchs() -> None:
    x, y = pair(np.array([[1.0, 2.0], [4.0, 3.0]], np.float32))
    for name in ("max", "min", "sort", "median", "mode"):
        ours, theirs = (getattr(z, name)(1) for z in (x, y))
        assert str(ours) == str(theirs)
    assert str(x.topk(1)) == str(y.topk(1))
    assert str(x.aminmax()) == str(y.aminmax())
    values, indices = x.max(1)
    assert values is not indices
    assert x.max(dim=1).values.shape == (2,)


@pytest.mark.parametrize("minlength", [0, 7])
def test_counting(minlength: int) -> None:
    x, weights = np.array([1, 4, 1, 0]), np.array([0.5, 1.0, 2.0, -1.0])
    for w in (weights, weights.astype(np.float32), np.arange(4)):
        compare(lambda torch, x, w: torch.bincount(x, w, minlength), x, w)
    compare(lambda torch, x: torch.bincount(x, minlength=minlength), x[:0])
    compare(lambda torch, x: torch.bincount(x), x.astype(np.uint8))
    for low, high in ((0, 0), (0, 3), (-1.5, 1.5)):
        for values in (weights, np.ones(3), np.array([NAN, 1.0, INF])):
            if low == high and not np.isfinite(values).all():
                continue
            compare(lambda torch, x: torch.histc(x, 4, low, high), values)  # noqa: B023


# Accuracy and reproducibility of long sums


LAYOUTS: dict[str, Any] = {
    "one row": lambda x: (x.reshape(-1), None),
    "down a narrow table": lambda x: (x.reshape(-1, 8), 0),
    "down one column": lambda x: (x.reshape(-1, 1), 0),
    "across a wide table": lambda x: (x.reshape(8, -1), 1),
    "over a transposed table": lambda x: (x.reshape(-1, 8).T, 1),
    "over both of a strided table": lambda x: (x.reshape(-1, 8)[:, ::2], (0, 1)),
    "batch norm's": lambda x: (x.reshape(-1, 4, 2, 2), (0, 2, 3)),
    "the middle": lambda x: (x.reshape(4, -1, 4), 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_long_float32_sums_are_as_accurate_as_pytorchs(layout: str, offset: float) -> None:
    values = np.random.default_rng(3).random(1 << 20, np.float32) + np.float32(offset)
    x, dim = LAYOUTS[layout](values)
    exact = x.astype(np.float64).sum(dim)
    ours = mt.Tensor._wrap(x).sum(dim).array
    theirs = torch.from_numpy(x).sum(dim).numpy()
    error, reference = (np.abs(y.astype(np.float64) - exact).max() for y in (ours, theirs))
    ulp = np.spacing(np.float32(np.abs(exact).max()))
    assert error <= max(reference, 8 * ulp)
    spread = x.astype(np.float64).var(dim)
    ours = mt.Tensor._wrap(x).var(dim, correction=0).array
    np.testing.assert_allclose(ours, spread, rtol=1e-4)
    assert np.array_equal(mt.Tensor._wrap(x).sum(dim).array, mt.Tensor._wrap(x).sum(dim).array)


def test_gradient_of_a_broadcast_bias_is_as_accurate() -> None:
    g = np.random.default_rng(4).random((1 << 17, 3), np.float32)
    b = mt.Tensor._wrap(np.zeros(3, np.float32), True)
    (b + mt.Tensor._wrap(np.zeros_like(g))).backward(mt.Tensor._wrap(g))
    np.testing.assert_allclose(b.grad.array, g.astype(np.float64).sum(0), rtol=3e-7)


def test_float16_accumulates_in_float32() -> None:
    x = np.full((40000, 3), 0.1, np.float16)
    for name in ("sum", "mean", "nansum"):
        compare(lambda torch, x: getattr(torch, name)(x, 0), x)  # noqa: B023
    compare(lambda torch, x: x.var(0), np.arange(3000).reshape(-1, 3).astype(np.float16))
    compare(lambda torch, x: x.cumsum(0), x[:500])
    compare(lambda torch, x: x @ x.T, np.full((2, 5000), 0.1, np.float16))


# Products of matrices


SHAPES = [(), (3,), (2,), (2, 3), (3, 2), (2, 2, 3), (2, 3, 2), (5, 3, 2), (1, 3, 2), (2, 1, 4, 3),
           (0, 3), (3, 0), (64, 320), (100, 10)]  # fmt: skip


@pytest.mark.parametrize("name", ["matmul", "mm", "bmm", "mv", "dot", "inner", "outer", "vdot"])
def test_products_of_every_pair_of_ranks(name: str) -> None:
    rng = np.random.default_rng(5)
    for a, b in itertools.product(SHAPES, SHAPES):
        if (name == "vdot" and a != b) or (name == "mv" and () in (a, b)):
            continue  # PyTorch's refusals there have other types
        x, y = rng.standard_normal(a), rng.standard_normal(b)
        compare(lambda torch, x, y: getattr(torch, name)(x, y), np.asarray(x), np.asarray(y),
                context=f"{name} {a} {b}", rtol=1e-10, atol=1e-12)  # fmt: skip


@pytest.mark.parametrize(
    "shapes_of",
    [((70, 90), (90, 50)), ((3, 40, 60), (60, 41)), ((2, 1, 33, 70), (3, 70, 65)),
     ((40, 300), (3, 300, 50)), ((5000,), (5000, 31)), ((31, 5000), (5000,))],
)  # fmt: skip
@pytest.mark.parametrize("transposed", [False, True])
def test_products_large_enough_for_the_kernel(shapes_of: Any, transposed: bool) -> None:
    rng = np.random.default_rng(9)
    for dtype, rtol in (("float64", 1e-11), ("float32", 2e-4)):
        a, b = (rng.standard_normal(s).astype(dtype) for s in shapes_of)
        if transposed:
            a, b = (np.ascontiguousarray(x.T).T for x in (a, b))
        compare_gradients(lambda _, x, y: x @ y, a, b, rtol=rtol, atol=rtol * 10)


def test_message_of_the_lectures_size_mismatch() -> None:
    a, b = mt.Tensor._wrap(np.ones((64, 320))), mt.Tensor._wrap(np.ones((100, 10)))
    with pytest.raises(
        RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(64x320 and 100x10\)"
    ):
        a @ b


@pytest.mark.parametrize("name", ["addmm", "addmv", "addbmm", "baddbmm"])
def test_weighted_products(name: str) -> None:
    rng = np.random.default_rng(6)
    shapes_of = {
        "addmm": ((2, 3), (3, 4), (2, 4)), "addmv": ((2, 3), (3,), (2,)),
        "addbmm": ((5, 2, 3), (5, 3, 4), (2, 4)), "baddbmm": ((5, 2, 3), (5, 3, 4), (5, 2, 4)),
    }  # fmt: skip
    a, b, full = shapes_of[name]
    for shape in (full, full[-1:], (), (1,) * len(full), (7,), (1, 1, *full)):
        arguments = [np.asarray(rng.standard_normal(s)) for s in (shape, a, b)]
        for options in ({}, {"beta": 0.5, "alpha": 2}, {"beta": 0}):
            compare_gradients(
                lambda torch, *x: getattr(torch, name)(*x, **options),  # noqa: B023
                *arguments, rtol=1e-10, atol=1e-12,
            )  # fmt: skip
    nothing = np.full(full, NAN)
    compare(lambda torch, *x: getattr(torch, name)(*x, beta=0), nothing, np.ones(a), np.ones(b))


def test_products_of_integers_and_mixed_dtypes() -> None:
    i, x = np.arange(6).reshape(2, 3), np.arange(6.0).reshape(2, 3)
    compare(lambda _, a: a @ a.T, i)
    compare(lambda _, a, b: a @ b.T, i, x)
    compare(lambda _, a, b: a[0] @ b[0], x.astype(np.float32), x)
    compare(lambda _, a: (a > 1) @ (a > 1).T, i)
    compare(lambda _, a: a @ 2, x)
    compare(lambda torch, a: torch.matmul(a, "b"), x)
    compare(lambda _, a: a @ a.T, x.astype(np.float16))


@pytest.mark.parametrize(
    ("equation", "shapes_of"),
    [
        ("ij,jk", [(2, 3), (2, 3)]),
        ("ij", [(2, 3, 4)]),
        ("ij,jk->ik", [(2, 3)]),
        ("ij->ik", [(2, 3)]),
        ("ij->ii", [(2, 3)]),
        ("i1->i", [(2, 3)]),
        ("ii->i", [(2, 3)]),
        ("i...->...", [(2, 3, 4)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("ij, jk -> ki", [(2, 3), (3, 4)]),
        ("iJ,Jk", [(2, 3), (3, 4)]),
        ("ba", [(2, 3)]),
        ("...,...", [(2, 3), (3,)]),
        (",i->i", [(), (3,)]),
        ("b...ij,b...jk->b...ik", [(2, 5, 3, 4), (2, 5, 4, 2)]),
    ],
)
def test_einsum_equations(equation: str, shapes_of: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(7)
    operands = [np.asarray(rng.standard_normal(s)) for s in shapes_of]
    compare_gradients(lambda torch, *x: torch.einsum(equation, *x), *operands)
    compare(lambda torch, *x: torch.einsum(equation, list(x)), *operands)


def test_tensordot() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 4, 5))
    compare_gradients(lambda torch, x, y: torch.tensordot(x, y), a, b)
    compare_gradients(lambda torch, x, y: torch.tensordot(x, y, dims=([1, 2], [0, 1])), a, b)
    compare_gradients(lambda torch, x, y: torch.tensordot(x, y, dims=([-2], [0])), a, b)
    compare(lambda torch, x, y: torch.tensordot(x, y, 0), a, b)
    compare(lambda torch, x, y: torch.tensordot(x, y, 1), a, b)


def test_outcome_of_warnings_is_not_hidden() -> None:
    """The harness ignores warnings, so what must warn is tested above and not through it."""
    assert isinstance(outcome(lambda: mt.std(mt.Tensor._wrap(np.ones(1)))), mt.Tensor)
