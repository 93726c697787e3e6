"""Compiled kernels on disk: one file per function and argument types.

Numba's own cache keeps an index beside its data; two processes that write at the same moment can
leave an index that points at the wrong data. Here the file's name says what is in it (a hash of the
types, the CPU and the code), its first bytes say that it is whole, and it appears by an atomic
rename. Whatever goes wrong with a file (unreadable, truncated, disk full), the kernel is compiled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import threading
import time
import warnings
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

_VERSIONS = (sys.version_info[:3], numba.__version__, llvmlite.__version__, np.__version__)


@functools.cache
def directory() -> Path | None:
    """Where compiled kernels are kept, or None if there is no safe, writable place.

    ``MINITORCH_CNN_CACHE_DIR``, else ``NUMBA_CACHE_DIR``, else the user's cache directory; a folder
    per version of Numba and Python in it.
    """
    chosen = os.environ.get("MINITORCH_CNN_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        top = Path(chosen).absolute()
    else:
        import platformdirs

        top = Path(platformdirs.user_cache_dir("minitorch_cnn"))
    version = f"kernels-numba{numba.__version__}-python{sys.version_info[0]}.{sys.version_info[1]}"
    path = top / version
    try:
        if not top.is_absolute():  # the home directory is not known
            return None
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        # What is loaded from here is run: nobody else may be able to write it.
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return None
        probe = path / f".probe-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    return path


class KernelCache:
    """What Numba asks for the compiled form of one function (the interface of its own caches).

    It also says on standard error what is being compiled, once that has taken a second in all.
    """

    def __init__(self, fn: FunctionType, options: Any) -> None:
        self.fn = fn
        self.options = sorted(
            (name, sorted(v) if isinstance(v, set) else v) for name, v in options.items()
        )
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        self.started = 0.0
        self.timer = threading.Timer(0, _say, (self.name,))

    @property
    def cache_path(self) -> str:
        return str(directory())

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        folder = directory()
        if folder is None or self.fn.__closure__:
            return None
        what = _digest(
            sig, codegen.magic_tuple(), self.options, os.environ.get("NUMBA_BOUNDSCHECK")
        )
        code = _digest(_VERSIONS, _fingerprint(self.fn.__module__))
        return folder / f"{self.fn.__module__}.{self.fn.__qualname__}-{what}-{code}.bin"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            if path is not None:
                data = path.read_bytes()
                if hashlib.sha256(data[32:]).digest() == data[:32]:
                    # Written by this very user and version (see directory()), and whole.
                    parts = pickle.loads(data[32:])  # noqa: S301
                    return CompileResult._rebuild(target_context, *parts)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001, S110 - a bad file costs a compilation, never the run
            pass
        self.started = time.perf_counter()
        self.timer = threading.Timer(max(0.0, 1.0 - _Spent.seconds), _say, (self.name,))
        self.timer.daemon = True
        self.timer.start()
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        self.timer.cancel()
        _Spent.seconds += time.perf_counter() - self.started
        path = self._path(sig, cres.codegen)
        if path is None:
            return
        if cres.library.has_dynamic_globals:
            warnings.warn(
                f"kernel {self.name} holds addresses of this process, and the next one will have to"
                " compile it again: give @inline functions that take functions forceinline=True",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        payload = dumps(cres._reduce())  # type: ignore[no-untyped-call]
        draft = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            draft.write_bytes(hashlib.sha256(payload).digest() + payload)
            draft.replace(path)
            for old in path.parent.glob(path.name.rpartition("-")[0] + "-*.bin"):
                if old != path:  # the same function and types, as its code was before
                    old.unlink()
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


class _Spent:
    seconds = 0.0


def _say(name: str) -> None:
    kept = "kept for next time" if directory() is not None else "no writable cache directory"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no or closed stderr
        sys.stderr.write(f"minitorch_cnn: compiling kernel {name} ({kept})\n")
        sys.stderr.flush()


def _digest(*things: Any) -> str:
    return hashlib.sha256(repr(things).encode()).hexdigest()[:20]


@functools.cache
def _fingerprint(module: str) -> str:
    """A hash of the code of a module, of the constants it uses, and of the modules it calls."""
    seen: dict[str, Any] = {}

    def visit(name: str) -> None:
        if name in seen:
            return
        functions: dict[str, Any] = {}
        constants: dict[str, Any] = {}
        seen[name] = functions, constants
        for key, value in vars(sys.modules[name]).items():
            # What a Dispatcher, a Kernel, an intrinsic were made from.
            made_from = (getattr(value, a, None) for a in ("py_func", "fn", "_defn"))
            fn = next((f for f in made_from if f is not None), value)
            if isinstance(fn, FunctionType) and fn.__module__ == name:
                functions[key] = _code(fn.__code__)
            elif isinstance(fn, FunctionType) and fn.__module__.startswith(str(__package__)):
                visit(fn.__module__)
            elif isinstance(value, type) and hasattr(value, "_fields"):
                functions[key] = value._fields  # a named tuple: code has the places of its fields
            elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
                constants[key] = value
        used = str(functions)
        seen[name] = functions, {k: v for k, v in constants.items() if f"'{k}'" in used}

    visit(module)
    return _digest(seen)


def _code(code: CodeType) -> Any:
    consts = [_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, consts
