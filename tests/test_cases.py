"""Every row of ``tests/cases`` against PyTorch, forward and backward."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minitorch_cnn
from minitorch_cnn.tensor import Tensor

from . import devices
from .cases import Call, Case, all_cases
from .devices import host, place
from .strategies import LAYOUTS, with_layout

CASES = all_cases()
# Of equal elements, PyTorch may take any; rounding can make some.
CHOOSING = ("topk", "kthvalue", "median", "mode")
DIFFERENTIABLE = [case for case in CASES if case.differentiable]


def test_every_op_has_a_row() -> None:
    ops = set()
    for info in pkgutil.iter_modules(minitorch_cnn.ops.__path__):
        module = importlib.import_module(f"minitorch_cnn.ops.{info.name}")
        for name, fn in vars(module).items():
            if getattr(fn, "is_op", False) and fn.__module__ == module.__name__:
                ops.add(f"{info.name}.{name}")
    covered = {case.op for case in CASES}
    assert covered <= ops, f"rows for ops that do not exist: {sorted(covered - ops)}"
    assert not ops - covered, f"ops without a row in tests/cases: {sorted(ops - covered)}"


def _floating(x: np.ndarray) -> bool:
    return x.dtype.kind == "f"


def _cast(call: Call, dtype: Any) -> list[np.ndarray]:
    return [x.astype(dtype) if _floating(x) else x for x in call.arrays]


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, (tuple, list)) else result


def _all(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _run_ours(case: Case, arrays: list[np.ndarray], settings: dict[str, Any]) -> Any:
    inputs = [Tensor._wrap(place(x), _floating(x) and case.differentiable) for x in arrays]
    return inputs, case.ours(*inputs, **settings)


def _run_torch(case: Case, arrays: list[np.ndarray], settings: dict[str, Any]) -> Any:
    inputs = [
        torch.tensor(x.copy(), requires_grad=_floating(x) and case.differentiable)
        for x in arrays
    ]
    return inputs, case.theirs(*inputs, **settings)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@given(data=st.data())
def test_equals_pytorch(case: Case, dtype: Any, data: st.DataObject) -> None:
    call = data.draw(case.calls)
    layout = data.draw(st.sampled_from(LAYOUTS))
    plain = _cast(call, dtype)
    arrays = [with_layout(x, layout) for x in plain]
    before = [x.copy() for x in arrays]
    tolerance = (
        {"rtol": case.rtol64, "atol": case.atol64}
        if dtype is np.float64
        else {"rtol": case.rtol32, "atol": case.atol32}
    )

    inputs, result = _run_ours(case, arrays, call.settings)
    expected_inputs, expected = _run_torch(case, plain, call.settings)
    for y, want in zip(_all(result), _all(expected), strict=True):
        assert tuple(y.shape) == tuple(want.shape)
        assert y.dtype.name == str(want.dtype).removeprefix("torch.")
        np.testing.assert_allclose(host(y.array), want.detach().numpy(), **tolerance)
    for x, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(host(x.array), old, err_msg="the op wrote to its input")

    if not case.differentiable or not _first(expected).requires_grad:
        return
    y, want = _first(result), _first(expected)
    gy = np.random.default_rng(0).standard_normal(want.shape).astype(want.detach().numpy().dtype)
    y.backward(Tensor._wrap(place(gy)))
    want.backward(torch.from_numpy(np.asarray(gy)))
    for x, expected_x in zip(inputs, expected_inputs, strict=True):
        if expected_x.grad is None:
            assert x.grad is None or not host(x.grad.array).any()
            continue
        assert x.grad is not None, "PyTorch has a gradient here, we have none"
        assert x.grad.array.dtype == x.array.dtype
        np.testing.assert_allclose(
            host(x.grad.array), expected_x.grad.numpy(), **tolerance, err_msg="gradient"
        )


# Rows that call several ops, each of which rounds, or that round a setting (the classes' weights).
COMPOSED = (
    "acosh", "addcdiv", "addcmul", "binary_cross_entropy", "binary_cross_entropy certain",
    "binary_cross_entropy_with_logits", "cross_entropy", "cross_entropy probabilities", "kl_div",
    "kl_div of logs", "matrix_norm", "nanmean", "nll_loss", "take_along_dim",
)  # fmt: skip
# A GPU's kernels round a product before the bias, or the sum over a broadcast axis, is added.
ON_GPU = ("conv_transpose2d", "linear", "linear_wide", "matmul")


def _rounded(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16) if _floating(x) else x


def _widened(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype == ml_dtypes.bfloat16 else x


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@settings(max_examples=5)
@given(data=st.data())
def test_bfloat16_is_float32_rounded_once(case: Case, data: st.DataObject) -> None:
    """What PyTorch computes of the same numbers in float32, rounded to 8 bits: 2**-8 of it.

    Where several ops round, the error is one of numbers that may cancel out: 2**-7 of the largest.
    """
    call = data.draw(case.calls)
    arrays = [_rounded(x) for x in call.arrays]
    if case.name in CHOOSING:
        assume(all(np.unique(_widened(x)).size == x.size for x in arrays))
    inputs = [
        Tensor._wrap(place(x), x.dtype == ml_dtypes.bfloat16 and case.differentiable)
        for x in arrays
    ]
    result = case.ours(*inputs, **call.settings)
    wide = [_widened(x) for x in arrays]
    expected_inputs, expected = _run_torch(case, wide, call.settings)
    several = case.name in COMPOSED or (devices.name() == "cuda" and case.name in ON_GPU)
    rtol, atol = case.rtol32 + 2 ** -(6 if several else 8), case.atol32

    def compare(ours: Any, theirs: np.ndarray) -> None:
        scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=1) if several else 0
        np.testing.assert_allclose(_widened(host(ours)), theirs, rtol, atol + 2**-7 * scale)

    for y, want in zip(_all(result), _all(expected), strict=True):
        narrow = want.dtype == torch.float32 and case.name != "cast"
        dtype = torch.bfloat16 if narrow else want.dtype
        assert (tuple(y.shape), str(y.dtype)) == (tuple(want.shape), str(dtype))
        compare(y.array, want.detach().numpy())

    if not case.differentiable or not _first(expected).requires_grad:
        return
    if several and not case.smooth:  # rounding makes ties
        return
    y, want = _first(result), _first(expected)
    gy = np.random.default_rng(0).standard_normal(want.shape).astype(y.array.dtype)
    y.backward(Tensor._wrap(place(np.asarray(gy))))
    want.backward(torch.from_numpy(np.asarray(gy).astype(np.float32)))
    for x, expected_x in zip(inputs, expected_inputs, strict=True):
        if expected_x.grad is not None:
            assert x.grad.dtype == x.dtype
            compare(x.grad.array, expected_x.grad.numpy())


@pytest.mark.parametrize(
    "case", [c for c in DIFFERENTIABLE if c.smooth], ids=lambda c: c.name
)
@given(data=st.data())
def test_gradient_is_the_slope(case: Case, data: st.DataObject) -> None:
    """d/dt f(x + t v) at 0 by central differences equals <gradient, v> in float64."""
    call = data.draw(case.calls)
    arrays = _cast(call, np.float64)
    inputs, result = _run_ours(case, arrays, call.settings)
    y = _first(result)
    if not y.requires_grad or not y.numel() or not np.isfinite(host(y.array)).all():
        return
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(y.shape)
    directions = [rng.standard_normal(x.shape) * _floating(x) for x in arrays]
    y.backward(Tensor._wrap(place(np.asarray(weights))))

    def along(t: float) -> float:
        moved = [
            x + t * v if _floating(x) else x for x, v in zip(arrays, directions, strict=True)
        ]
        with minitorch_cnn.no_grad():
            placed = [Tensor._wrap(place(np.asarray(x))) for x in moved]
            out = _first(case.ours(*placed, **call.settings))
        return float((host(out.array) * weights).sum())

    eps = 1e-6
    slope = (along(eps) - along(-eps)) / (2 * eps)
    gradient = sum(
        float((host(x.grad.array) * v).sum())
        for x, v in zip(inputs, directions, strict=True)
        if x.grad is not None
    )
    scale = 1 + sum(float(np.abs(host(x.grad.array)).sum()) for x in inputs if x.grad is not None)
    assert abs(slope - gradient) <= 1e-5 * scale
