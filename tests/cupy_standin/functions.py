"""The functions of the ``cupy`` module, by the parameters that CuPy's have.

Most are NumPy's function of the same name on what the arrays hold. A ufunc must have a loop for its
operands' dtypes in CuPy too, with a result of the same dtype as NumPy's.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from . import cuda as _cuda
from . import raw
from .ndarray import (
    blocks_of,
    call,
    ndarray,
    operands,
    settle,
    signature_of,
    spoil,
    unwrap,
    wrap,
)
from .signatures import recorded

# Loops for these need a scan in order, which CuPy has of sums and products alone.
_SCANS = {"add": np.cumsum, "multiply": np.cumprod}
_REDUCTIONS = {"add": np.sum, "multiply": np.prod}
_AT = ("add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor")


class ufunc:
    """CuPy's: no ``where=``, no NumPy arrays, and only the methods that it has."""

    def __init__(self, name: str, types: list[str]) -> None:
        self.name = f"cupy_{name}"
        self.types = types
        self._numpy: np.ufunc = getattr(np, name)
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        unknown = set(kwargs) - {"out", "dtype", "casting"}
        if unknown:
            raise TypeError(f"Wrong arguments {sorted(unknown)}")
        if any(not isinstance(a, (ndarray, bool, int, float, complex, np.generic)) for a in args):
            kinds = [type(a).__name__ for a in args]
            raise TypeError(f"Unsupported type {kinds} of {self.name}")
        self._check_loop(list(args[: self._numpy.nin]), kwargs.get("dtype"))
        return call(self._numpy, *args, **kwargs)

    def _check_loop(self, inputs: list[Any], dtype: Any) -> None:
        kinds = [_kind(a) for a in inputs]
        options: dict[str, Any] = {"casting": "unsafe"}
        if dtype is not None:
            outputs = [np.dtype(dtype)] * self._numpy.nout
            options["signature"] = (*[None] * self._numpy.nin, *outputs)
        loop = self._numpy.resolve_dtypes((*kinds, *[None] * self._numpy.nout), **options)
        found = list(loop)
        for types in self.types:
            ins, _, outs = types.partition("->")
            fits = all(
                np.can_cast(a, _dtype(b))
                for a, b in zip(found[: self._numpy.nin], ins, strict=True)
            )
            if fits:
                if [_dtype(o) for o in outs] != found[self._numpy.nin :]:
                    raise TypeError(f"{self.name}: {types} here, {found} in NumPy")
                return
        raise TypeError(f"Wrong type ({found}) of arguments for {self.name}")

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.__name__ not in _AT:
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        operands(a, indices, b)
        hosts = unwrap(a), unwrap(indices), unwrap(b)
        _cuda.queue(lambda: self._numpy.at(*hosts), blocks_of(a, indices, b))

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
               keepdims: bool = False) -> Any:  # fmt: skip
        if self.__name__ not in _REDUCTIONS:
            raise NotImplementedError(f"`{self.__name__}.reduce` is not supported yet")
        return call(_REDUCTIONS[self.__name__], array, axis, dtype=dtype, out=out,
                    keepdims=keepdims)  # fmt: skip

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        if self.__name__ not in _SCANS:
            raise NotImplementedError(f"`{self.__name__}.accumulate` is not supported yet")
        return call(_SCANS[self.__name__], array, axis, dtype=dtype, out=out)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        return call(self._numpy.outer, A, B, **kwargs)


def _kind(value: Any) -> Any:
    """What NumPy's promotion asks for: a dtype, or the type of a Python number."""
    if isinstance(value, (ndarray, np.generic)):
        return value.dtype
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def _dtype(letter: str) -> np.dtype[Any]:
    """CuPy's letters are NumPy's, and that of bfloat16."""
    return np.dtype(ml_dtypes.bfloat16 if letter == "E" else letter)


UFUNCS = {
    name: ufunc(name, types)
    for name, types in recorded()["ufuncs"].items()
    if isinstance(getattr(np, name, None), np.ufunc)
}
UFUNCS["divide"] = UFUNCS.get("divide") or UFUNCS["true_divide"]


def _function(name: str, parameters: list[str], fn: Callable[..., Any]) -> Callable[..., Any]:
    signature = signature_of(parameters)
    parameters_ = signature.parameters.values()
    star = next((p.name for p in parameters_ if p.kind is p.VAR_POSITIONAL), "")
    rest = next((p.name for p in parameters_ if p.kind is p.VAR_KEYWORD), "")

    @functools.wraps(fn)
    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        if star:
            return call(fn, *args, **kwargs)
        # By name; the first by position, as NumPy may call it otherwise.
        first = next(iter(bound.arguments.values()))
        named = {k: v for k, v in list(bound.arguments.items())[1:] if k != rest}
        return call(fn, first, **named, **bound.arguments.get(rest, {}))

    function.__name__ = name
    return function


def _host(a: Any) -> Any:
    """An array of the device of what asarray and array take: this copy from the host is allowed."""
    if isinstance(a, ndarray):
        operands(a)
        return a._host
    return np.asarray(a) if not isinstance(a, (list, tuple)) else np.asarray(unwrap(a))


def array(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", subok: bool = False,
          ndmin: int = 0, *, blocking: bool = False) -> ndarray:  # fmt: skip
    if not isinstance(obj, ndarray):
        _cuda.no_copies_from_the_host()
        result: ndarray = wrap(np.array(_host(obj), dtype, order=order, ndmin=ndmin))  # type: ignore[call-overload]
    else:
        result = call(lambda x: np.array(x, dtype, order=order, ndmin=ndmin), obj)  # type: ignore[call-overload]
    return result


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None,
            blocking: bool = False) -> ndarray:  # fmt: skip
    same = isinstance(a, ndarray) and (dtype is None or a.dtype == dtype)
    if same and a._block.device == _cuda.state.device:
        return a
    if isinstance(a, ndarray):
        with a.device:
            settle(a)
        a = a._host
    return array(a, dtype)


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *,
            blocking: bool = True) -> Any:  # fmt: skip
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a)


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    operands(dst, src, where)
    to, what, mask = dst._host, unwrap(src), True if where is None else unwrap(where)
    _cuda.queue(lambda: np.copyto(to, what, casting, where=mask), blocks_of(dst, src, where))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Filled with what a careless reader notices."""
    host = np.empty(shape, dtype, order)  # type: ignore[call-overload]
    spoil(host)
    result: ndarray = wrap(host)
    return result


def concatenate(tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Any:  # fmt: skip
    if len(tup) > 8:
        _cuda.no_copies_from_the_host()  # of the arrays' addresses
    return call(np.concatenate, tup, axis, out=out)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None,
          casting: str = "same_kind") -> Any:  # fmt: skip
    if len(tup) > 8:
        _cuda.no_copies_from_the_host()
    return call(np.stack, tup, axis, out=out)


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    if isinstance(repeats, ndarray):
        raise ValueError("cupy.ndarray cannot be specified as `repeats` argument.")
    return call(np.repeat, a, repeats, axis)


def count_nonzero(a: Any, axis: Any = None) -> Any:
    return call(lambda x: np.asarray(np.count_nonzero(x, axis)), a)


def bincount(x: Any, weights: Any = None, minlength: Any = None) -> Any:
    return call(np.bincount, x, weights, minlength or 0)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    operands(condition, x, y)
    if any(isinstance(v, (list, tuple)) for v in (condition, x, y)):
        raise TypeError("Unsupported type <class 'list'>")
    return call(np.where, condition, *([] if x is None and y is None else [x, y]))


def matmul(x1: Any, x2: Any, out: Any = None) -> Any:
    _cuda.no_libraries()
    return call(np.matmul, x1, x2, **({} if out is None else {"out": out}))


def einsum(*operands_: Any, **kwargs: Any) -> Any:
    if set(kwargs) - {"dtype", "optimize"}:
        raise TypeError(f"Did not understand the following kwargs: {sorted(kwargs)}")
    if len(operands_) > 2:
        _cuda.no_libraries()
    return call(np.einsum, *operands_, **kwargs)


def get_default_memory_pool() -> Any:
    return _cuda.pool


def is_available() -> bool:
    return True


_OURS = {
    f.__name__: f
    for f in (
        array, asarray, asnumpy, concatenate, stack, copyto, empty, repeat, count_nonzero,
        bincount, where, einsum,
        matmul, get_default_memory_pool,
    )
}  # fmt: skip


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    return module


def _filled(name: str, numpy_module: Any, ours: dict[str, Any]) -> ModuleType:
    module = _module(name)
    for function, parameters in recorded()["modules"][name].items():
        if function in ours:
            setattr(module, function, ours[function])
        elif isinstance(parameters, list) and callable(getattr(numpy_module, function, None)):
            fn = getattr(numpy_module, function)
            setattr(module, function, _function(function, parameters, fn))
    return module


def _modules() -> dict[str, ModuleType]:
    cupy = _filled("cupy", np, _OURS)
    for name, fn in UFUNCS.items():
        setattr(cupy, name, fn)
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8",
                 "bool_", "dtype", "generic", "finfo", "iinfo",
                 "uint64", "uint32", "uint16"):  # fmt: skip
        setattr(cupy, name, getattr(np, name))
    cupy.__dict__.update(
        ndarray=ndarray, ufunc=ufunc, RawModule=raw.RawModule, RawKernel=raw.RawKernel,
        __version__=recorded()["cupy"],
    )  # fmt: skip
    cuda = _module("cupy.cuda")
    for name in recorded()["modules"]["cupy.cuda"]:
        if hasattr(_cuda, name):
            setattr(cuda, name, getattr(_cuda, name))
    cuda.__dict__["is_available"] = is_available
    strides = _filled("cupy.lib.stride_tricks", np.lib.stride_tricks, {})
    lib = _module("cupy.lib")
    lib.__dict__["stride_tricks"] = strides
    linalg = _filled("cupy.linalg", np.linalg, {})
    memory = _module("cupy.cuda.memory")
    memory.__dict__["OutOfMemoryError"] = _cuda.OutOfMemoryError
    cuda.__dict__["memory"] = memory
    cupy.__dict__.update(cuda=cuda, lib=lib, linalg=linalg)
    cupyx = _module("cupyx")
    cupyx.__dict__.update(empty_pinned=_cuda.empty_pinned)
    return {
        "cupy": cupy, "cupy.cuda": cuda, "cupy.lib": lib, "cupy.lib.stride_tricks": strides,
        "cupy.linalg": linalg, "cupy.cuda.memory": memory, "cupyx": cupyx,
    }  # fmt: skip


MODULES = _modules()


def install() -> None:
    """Make ``import cupy`` give the stand-in."""
    if "cupy" in sys.modules and sys.modules["cupy"] is not MODULES["cupy"]:
        raise RuntimeError("the real CuPy is imported already")
    sys.modules.update(MODULES)
