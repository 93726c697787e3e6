"""Runs a kernel on the GPU: from ``pool._max_pool2d(x, y, ...)`` to ``max_pool2d<float>`` of
``pool.cu``, through CuPy.

CUDA would take any arguments, so they are checked first, against the signature in the source. A
file's kernels are compiled together, once per dtype, when the first of them is called; CuPy keeps
the result on disk. Our headers are put into the source, as CuPy's cache does not see inside files
that a source includes.

Kernels are queued on CuPy's current stream of the device that their arrays are on. How many blocks
a loop over the grid gets depends on the GPU; its results do not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import cuda_source
from .arguments import argument_error, grid_error, packed

__all__ = [
    "CudaKernel", "cuda_kernel", "has_tensor_cores", "has_twin", "launch", "launch_twin",
]  # fmt: skip

HERE = Path(__file__).parent
C_NAMES: dict[str, str] = {
    np.dtype(code).char: name for name, code in reversed(cuda_source.SCALARS.items())
}


@functools.cache
def has_twin(fn: Callable[..., None]) -> bool:
    """Whether the .cu beside a Python kernel has a CUDA function of its name."""
    path = Path(fn.__code__.co_filename).with_suffix(".cu")
    return path.exists() and fn.__name__.lstrip("_") in _kernels(path)


def launch_twin(fn: Callable[..., None], args: Sequence[Any]) -> None:
    """Run the CUDA function of the same name and arguments as a Python kernel."""
    path = Path(fn.__code__.co_filename)
    _launch(path.with_suffix(".cu"), fn.__name__.lstrip("_"), args)


def launch(file: str, name: str, *args: Any) -> None:
    """Run kernel ``name`` of ``file``.cu; its type parameter T follows from the arrays.

    Raises TypeError, naming the kernel and the argument, for what the signature does not take.
    """
    _launch(HERE / f"{file}.cu", name, args)


def _launch(path: Path, name: str, args: Sequence[Any]) -> None:
    typed = (args[i] for i in _typed_arguments(path, name) if i < len(args))
    codes = (getattr(getattr(a, "dtype", None), "char", None) for a in typed if a is not None)
    cuda_kernel(path, name, next(codes, None))(*args)


@functools.cache
def cupy() -> ModuleType:
    return importlib.import_module("cupy")


def has_tensor_cores(x: Any) -> bool:
    """Whether the GPU that a float16 or bfloat16 array is on has them for its dtype (from sm_70 and
    sm_80 on), and kernels for them compile.

    Warns, once, where only a header of CUDA's is missing.
    """
    return _has_tensor_cores(int(x.device.id), x.dtype.char)


@functools.cache
def _has_tensor_cores(device: int, code: str) -> bool:
    kernel = cuda_kernel(HERE / "gemm_wmma.cu", "matmul", code)
    oldest = kernel.source.types[kernel.type].removeprefix("sm_")
    with cupy().cuda.Device(device) as gpu:
        if int(gpu.compute_capability) < int(oldest or 70):
            return False
        try:
            _ = kernel.function
        except Exception as error:
            if "mma.h" not in str(error):
                raise
            warnings.warn(
                "float16 and bfloat16 are computed without tensor cores: CUDA's header mma.h was"
                " not found; pip install 'minitorch-cnn[cuda13]' (or [cuda12]) brings it",
                stacklevel=2,
            )
            return False
    return True


@functools.cache
def _kernels(path: Path) -> Mapping[str, cuda_source.Kernel]:
    return cuda_source.kernels(path)


@functools.cache
def _typed_arguments(path: Path, name: str) -> tuple[int, ...]:
    """Which arguments' dtype is the type parameter; the first that is not None says it."""
    if name not in _kernels(path):
        raise NotImplementedError(f"{path.name} has no kernel {name!r}: this runs on the CPU only")
    source = _kernels(path)[name]
    if not source.templates:
        return ()
    parameter = re.compile(rf"\b{source.templates[0]}\b")
    return tuple(i for i, (type, _) in enumerate(source.parameters) if parameter.search(type))


@functools.cache
def cuda_kernel(path: Path, name: str, code: str | None) -> CudaKernel:
    """The kernel of a .cu for one dtype, given by NumPy's one-letter code."""
    return CudaKernel(_kernels(path)[name], C_NAMES.get(code or "", ""))


@functools.cache
def _module(path: Path, type: str, name: str | None) -> Any:
    """Kernels of a file for one type, compiled when the first is asked for: those that are meant
    for it and run on every GPU, together; or the one called ``name``."""
    kernels = _kernels(path).values()
    chosen = [k for k in kernels if (k.name == name if name else k.types.get(type) == "")]
    return cupy().RawModule(
        code=cuda_source.inlined(path),
        options=("--std=c++17", *_include_folders()),
        name_expressions=[_expression(kernel, type) for kernel in chosen],
    )


@functools.cache
def _include_folders() -> tuple[str, ...]:
    """Where mma.h finds the rest of itself: CuPy itself does not look into these wheels."""
    for wheel in ("nvidia-cuda-crt", "nvidia-cuda-nvcc-cu12"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files(wheel) or []:
                if file.parts[-2:] == ("crt", "mma.h"):
                    return (f"-I{Path(str(file.locate())).parents[1]}",)
    return ()


def _expression(kernel: cuda_source.Kernel, type: str) -> str:
    return f"{kernel.name}<{type}>" if kernel.templates else kernel.name


class CudaKernel:
    """One kernel for one dtype: ``kernel(x, y, 3)`` checks the arguments and queues it."""

    def __init__(self, source: cuda_source.Kernel, type: str) -> None:
        self.source = source
        self.type = type
        self.expression = _expression(source, type)
        self.name = f"{source.path.name}: {self.expression}"
        if source.templates and not type:
            raise TypeError(f"{source.path.name}: {source.name}: no CUDA kernel has this dtype")
        arguments = [type] if source.templates else []
        self.templates = source.values(arguments)
        self.parameters = source.instantiate(arguments)

    @functools.cached_property
    def function(self) -> Any:
        together = self.source.types.get(self.type) == ""
        module = _module(self.source.path, self.type, None if together else self.source.name)
        return module.get_function(self.expression)

    def __call__(self, *args: Any) -> None:
        ndarray = cupy().ndarray
        arrays = [a for a in args if isinstance(a, ndarray)]
        self.check(args, arrays, ndarray)
        values = {p.name: a for p, a in zip(self.parameters, args)}
        with arrays[0].device:
            device = int(arrays[0].device.id)
            most = self.most_blocks(device) if self.source.rule and self.source.rule.stride else 1
            grid, block = cuda_source.launch_shape(self.source, self.templates, values, most)
            if 0 in grid:
                return
            if wrong := grid_error(grid, block):
                raise ValueError(f"{self.name}: {wrong}")
            self.function(
                grid,
                block,
                tuple(
                    packed(p, a, a.data.ptr if isinstance(a, ndarray) else 0)
                    for p, a in zip(self.parameters, args)
                ),
            )

    def check(self, args: Sequence[Any], arrays: Sequence[Any], array_type: Any) -> None:
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name}: takes {len(self.parameters)} arguments"
                f" ({', '.join(p.name for p in self.parameters)}), but got {len(args)}"
            )
        for parameter, value in zip(self.parameters, args):
            if wrong := argument_error(parameter, value, array_type):
                raise TypeError(f"{self.name}: {wrong}")
        for parameter, value in zip(self.parameters, args):
            if isinstance(value, array_type) and value.device.id != arrays[0].device.id:
                raise TypeError(
                    f"{self.name}: argument {parameter.name} is on cuda:{value.device.id}, others"
                    f" are on cuda:{arrays[0].device.id}"
                )

    @functools.cache  # noqa: B019 (a kernel lives as long as the process)
    def most_blocks(self, device: int) -> int:
        """Blocks of this kernel that run at a time on a GPU: more would only queue."""
        rule = self.source.rule
        assert rule is not None
        threads = int(
            np.prod([cuda_source.constant(self.source, self.templates, b) for b in rule.block])
        )
        each = cupy().cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            self.function.kernel.ptr, threads, 0
        )
        properties = cupy().cuda.runtime.getDeviceProperties(device)
        return max(1, int(each) * int(properties["multiProcessorCount"]))
