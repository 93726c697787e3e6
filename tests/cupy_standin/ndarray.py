"""``cupy.ndarray`` of the stand-in: a NumPy array that NumPy cannot get at.

Methods take the parameters that CuPy's take (``signatures.json``); what CuPy refuses is refused:
host arrays as operands, implicit copies to the host, a device that is not the current one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import cuda
from .signatures import recorded

_VIEWS_OF_TYPES = (bool, int, float, np.generic)


class ndarray:
    """Made by functions of the module; ``_host`` is what the device's memory holds."""

    __slots__ = ("__weakref__", "_block", "_host", "_pending", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None,
                 order: str = "C") -> None:  # fmt: skip
        if memptr is not None or strides is not None:
            raise NotImplementedError("memptr, strides")
        self._own(np.empty(shape, dtype, order))

    def _own(self, host: np.ndarray[Any, Any]) -> None:
        self._host, self._block = host, cuda.Block(host.nbytes, host.ctypes.data)
        recording = cuda.get_current_stream().recording
        if recording is not None:
            recording._own.append((host, self._block))
        self.base: ndarray | None = None
        self._pending: Any = None

    # What it is

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    T = property(lambda self: wrap(self._host.T, self))
    mT = property(lambda self: wrap(self._host.mT, self))  # noqa: N815
    real = property(lambda self: self)

    @property
    def device(self) -> cuda.Device:
        return cuda.Device(self._block.device)

    @property
    def flags(self) -> Any:
        own = self._host.flags
        return SimpleNamespace(
            c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, fnc=own.fnc,
            forc=own.forc, owndata=self.base is None,
        )  # fmt: skip

    @property
    def data(self) -> Any:
        settle(self)
        return SimpleNamespace(
            ptr=self._host.ctypes.data, mem=self._block, device=self.device,
            device_id=self._block.device,
        )  # fmt: skip

    def __repr__(self) -> str:
        return repr(self.get())

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # To the host: only on request

    def get(self, stream: Any = None, order: str = "C", out: Any = None,
            blocking: bool = True) -> Any:  # fmt: skip
        cuda.no_synchronizing()
        settle(self)
        if out is not None:
            out[...] = self._host
            return out
        return self._host.copy(order=order if order in "CF" else "C")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct"
            " a NumPy array explicitly."
        )

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        data: bytes = self.get().tobytes(order)
        return data

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __reduce__(self) -> Any:
        from .functions import array

        return array, (self.get(),)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def set(self, arr: Any, stream: Any = None) -> None:
        """From the host. On another stream than the default one it happens later."""
        if not isinstance(arr, np.ndarray):
            raise TypeError(f"Only numpy.ndarray can be set to cupy.ndarray, not {type(arr)}")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"Shape or dtype mismatch: {arr.shape} {arr.dtype}, {self.shape}")
        if not (self._host.flags.c_contiguous or self._host.flags.f_contiguous):
            raise RuntimeError("Cannot set to a non-contiguous array")
        stream = stream or cuda.get_current_stream()
        cuda.no_copies_from_the_host()
        if stream is cuda.Stream.null:
            self._host[...] = arr
            return
        self._pending = _Copy(self, arr if cuda.is_pinned(arr) else arr.copy())
        stream.waiting.append(self._pending)

    def __pos__(self) -> ndarray:
        return self.copy()

    def __matmul__(self, other: Any) -> Any:
        from . import functions

        return functions.matmul(self, other)

    # Parts

    def __getitem__(self, index: Any) -> ndarray:
        settle(self)
        parts = index if isinstance(index, tuple) else (index,)
        arrays = [p for p in parts if isinstance(p, ndarray)]
        if any(p.dtype.kind == "b" for p in arrays):
            cuda.no_synchronizing()  # how many are True?
        if not arrays:
            return wrap(self._host[_index(index, self.shape)], self)
        return call(lambda host, *_: host[_index(index, host.shape)], self, *arrays)

    def __setitem__(self, index: Any, value: Any) -> None:
        host = value._host if isinstance(value, ndarray) else value
        if isinstance(value, np.ndarray) or not isinstance(value, (ndarray, *_VIEWS_OF_TYPES)):
            raise ValueError(f"non-scalar numpy.ndarray cannot be used for fill: {type(value)}")
        operands(self, value, index)
        memory = self._host

        def write() -> None:
            memory[_index(index, memory.shape)] = host

        parts = index if isinstance(index, tuple) else (index,)
        cuda.queue(write, blocks_of(self, value, *parts))

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        return wrap(self._host.view() if dtype is None else self._host.view(dtype), self)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> ndarray:
        return call(np.ndarray.reshape, self, *shape, order=order)

    def transpose(self, *axes: Any) -> ndarray:
        return call(np.ndarray.transpose, self, *axes)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return call(np.ndarray.swapaxes, self, axis1, axis2)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
               copy: bool = True) -> ndarray:  # fmt: skip
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return call(np.ndarray.astype, self, dtype, order=order)

    def copy(self, order: str = "C") -> ndarray:
        return call(np.ndarray.copy, self, order=order)

    # What NumPy's functions do with it

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from . import functions

        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        ours = functions.UFUNCS.get(ufunc.__name__)
        if ours is None or method not in ("__call__", "at", "reduce", "accumulate", "outer"):
            return NotImplemented
        return (ours if method == "__call__" else getattr(ours, method))(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from . import functions

        module = functions.MODULES.get(func.__module__.replace("numpy", "cupy", 1))
        ours = getattr(module, func.__name__, None)
        if ours is None or not all(t in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)


class _Copy:
    """A copy from the host that a stream has still to make."""

    def __init__(self, array: ndarray, source: Any) -> None:
        self.array, self.source, self.done = array, source, False

    def run(self) -> None:
        if not self.done:
            self.done, self.array._pending = True, None
            self.array._host[...] = self.source


def settle(array: ndarray) -> None:
    """Refuse an array whose numbers may not have arrived."""
    owner = array if array.base is None else array.base
    if owner._pending is not None:
        raise AssertionError(
            "race: an array is used whose copy from the host was not waited for (its stream needs"
            " synchronize(), or the current stream wait_event())"
        )


def operands(*values: Any) -> None:
    """Refuse host arrays, and arrays that are not on the current device."""
    for value in values:
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
        if isinstance(value, ndarray):
            settle(value)
            if value._block.device != cuda.state.device:
                raise ValueError(
                    f"Array device must be same as the current device: array device ="
                    f" {value._block.device} while current = {cuda.state.device}"
                )
        elif isinstance(value, (list, tuple)):
            operands(*value)


def unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrap, value)) if type(value) in (list, tuple) else value
    return value


def wrap(result: Any, *sources: Any) -> Any:
    """NumPy's answer as an array of the device: a view of the source that it shares memory with."""
    if isinstance(result, (list, tuple)):
        return type(result)(wrap(part, *sources) for part in result)
    if isinstance(result, np.generic):
        result = np.asarray(result)
    if not isinstance(result, np.ndarray):
        return result
    array = ndarray.__new__(ndarray)
    if result.base is not None:
        for source in sources:
            if isinstance(source, ndarray) and _shares(result, source._host):
                array._host, array._block, array._pending = result, source._block, None
                array.base = source if source.base is None else source.base
                return array
        result = result.copy(order="K")
    array._own(result)
    return array


def _shares(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return _owner(a) is _owner(b)


def _owner(a: Any) -> Any:
    while hasattr(a.base, "base"):
        a = a.base
    return a


def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``fn`` of NumPy on what the arrays hold. In a capture it happens at each launch, not now."""
    operands(*args, *kwargs.values())
    host_args = [unwrap(a) for a in args]
    host_kwargs = {name: unwrap(value) for name, value in kwargs.items()}
    arrays = list(_arrays((*args, *kwargs.values())))
    recording = cuda.get_current_stream().recording
    if recording is not None and getattr(fn, "__name__", "") in _SYNCHRONIZING:
        cuda.no_synchronizing()
    before = []
    if recording is not None:
        before = [(a._host, a._host.copy()) for a in arrays if a._host.flags.writeable]
    with np.errstate(all="ignore"):
        result = fn(*host_args, **host_kwargs)
    for memory, held in before:  # in a capture only the result's shape was wanted
        memory[...] = held
    out = kwargs.get("out")
    wrapped = out if isinstance(out, ndarray) else wrap(result, *arrays)
    if recording is not None:
        fresh = [a for a in _arrays((wrapped,)) if a is not out and a.base is None]
        for a in fresh:
            spoil(a._host)

        def work() -> None:
            with np.errstate(all="ignore"):
                new = fn(*host_args, **host_kwargs)
            if fresh_hosts:
                for host, part in zip(fresh_hosts, new if several else (new,), strict=True):
                    host[...] = part

        fresh_hosts, several = [a._host for a in fresh], isinstance(result, (list, tuple))
        recording._add(work, blocks_of(*arrays, *_arrays((wrapped,))))
    return wrapped


# Their results' sizes depend on the numbers, which the host must wait for.
_SYNCHRONIZING = ("nonzero", "flatnonzero", "argwhere", "unique", "extract", "compress", "isin")


def _arrays(values: Any) -> Iterator[ndarray]:
    for a in values:
        if isinstance(a, ndarray):
            yield a
        elif isinstance(a, (list, tuple)):
            yield from _arrays(a)


def blocks_of(*values: Any) -> list[cuda.Block]:
    """The memory of arrays."""
    return [a._block for a in _arrays(values)]


def spoil(host: np.ndarray[Any, Any]) -> None:
    """Fill memory with what a careless reader notices."""
    host[...] = np.nan if host.dtype.kind == "f" else 1 if host.dtype.kind == "b" else 77


def _index(index: Any, shape: tuple[int, ...]) -> Any:
    """NumPy's index for one of ours. Numbers in arrays wrap around, as CuPy's do, unchecked."""
    parts = index if isinstance(index, tuple) else (index,)
    operands(*[p for p in parts if isinstance(p, (ndarray, np.ndarray))])
    taken = sum(
        p.ndim if isinstance(p, ndarray) and p.dtype.kind == "b" else 1
        for p in parts
        if p is not None and p is not Ellipsis
    )
    found, axis = [], 0
    for p in parts:
        if p is Ellipsis:
            axis += len(shape) - taken
        elif isinstance(p, ndarray):
            host = p._host
            if host.dtype.kind == "b":
                axis += host.ndim
            else:
                if host.dtype.kind not in "iu":
                    raise IndexError("arrays used as indices must be of integer or boolean type")
                host = host % shape[axis] if axis < len(shape) and shape[axis] else host
                axis += 1
            p = host
        elif p is not None:
            axis += 1
        found.append(p)
    return tuple(found) if isinstance(index, tuple) else found[0]


def _binary(name: str) -> Callable[[ndarray, Any], Any]:
    def method(self: ndarray, other: Any) -> Any:
        from . import functions

        if not isinstance(other, (ndarray, np.ndarray, complex, *_VIEWS_OF_TYPES)):
            return NotImplemented
        return functions.UFUNCS[name](self, other)

    return method


def _reflected(name: str) -> Callable[[ndarray, Any], Any]:
    def method(self: ndarray, other: Any) -> Any:
        from . import functions

        if not isinstance(other, (ndarray, np.ndarray, complex, *_VIEWS_OF_TYPES)):
            return NotImplemented
        return functions.UFUNCS[name](other, self)

    return method


def _in_place(name: str) -> Callable[[ndarray, Any], Any]:
    def method(self: ndarray, other: Any) -> Any:
        from . import functions

        return functions.UFUNCS[name](self, other, out=self)

    return method


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
for _short, _name in _OPERATORS.items():
    setattr(ndarray, f"__{_short}__", _binary(_name))
    setattr(ndarray, f"__r{_short}__", _reflected(_name))
    setattr(ndarray, f"__i{_short}__", _in_place(_name))
for _short, _name in _COMPARISONS.items():
    setattr(ndarray, f"__{_short}__", _binary(_name))


def _unary(name: str) -> Callable[[ndarray], Any]:
    def method(self: ndarray) -> Any:
        from . import functions

        return functions.UFUNCS[name](self)

    return method


for _short, _name in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_short}__", _unary(_name))
def _method(name: str, parameters: list[str]) -> Callable[..., Any]:
    fn = getattr(np.ndarray, name)
    signature = signature_of(parameters)

    @functools.wraps(fn)
    def method(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs).arguments
        self = bound.pop("self")
        settle(self)
        return call(fn, self, **bound)

    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def signature_of(parameters: list[str]) -> inspect.Signature:
    """From ``["a", "axis=", "*", "kind="]``; optional ones that are not given stay away."""
    kind, found = inspect.Parameter.POSITIONAL_OR_KEYWORD, []
    for name in parameters:
        if name in ("*", "/"):
            kind = inspect.Parameter.KEYWORD_ONLY if name == "*" else kind
        elif name.startswith("**"):
            found.append(inspect.Parameter(name[2:], inspect.Parameter.VAR_KEYWORD))
        elif name.startswith("*"):
            found.append(inspect.Parameter(name[1:], inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            default = None if name.endswith("=") else inspect.Parameter.empty
            found.append(inspect.Parameter(name.rstrip("="), kind, default=default))
    return inspect.Signature(found)


for _name, _parameters in recorded()["classes"]["cupy.ndarray"].items():
    _plain = not _name.startswith("_") and _name not in vars(ndarray)
    if _plain and isinstance(_parameters, list) and hasattr(np.ndarray, _name):
        setattr(ndarray, _name, _method(_name, _parameters))
ndarray.__module__ = "cupy"
