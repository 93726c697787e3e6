"""A stand-in for CuPy over NumPy, to run the suite as device "cuda" where there is no GPU.

A class of its own around NumPy's array, not an alias: it refuses what CuPy refuses. Host arrays as
operands; implicit copies to the host; keywords that CuPy lacks (``signatures.json``, recorded from
the real one); functions, methods and dtypes that it lacks; arrays on another than the current
device. 0-d results are arrays. Numbers in index arrays wrap around unchecked. Fresh memory holds
NaN. Copies from the host on a stream of their own happen when somebody waits. Kernels go through
the CUDA emulator, unmodified, and run on a GPU of two multiprocessors.

It lives with the tests, as nobody should compute with it: ``install()`` makes ``import cupy`` find
it, and tells ``minitorch_cnn.cuda`` that there is a GPU.
"""

from __future__ import annotations


def install() -> None:
    """Let this process find the stand-in as ``cupy``."""
    import minitorch_cnn

    from . import functions

    functions.install()
    minitorch_cnn.cuda.why_unavailable = lambda: None  # type: ignore[assignment]
