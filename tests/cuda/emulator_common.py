"""What the tests of the emulator share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def source(folder: Path, code: str) -> Path:
    path = folder / "test.cu"
    path.write_text(f'#include "array.cuh"\n{code}')
    return path


def kernel(
    folder: Path, parameters: str, body: str, block: int | str = 32, grid: str = "1"
) -> Path:
    """A file with one kernel k; its body begins at line 5."""
    return source(
        folder,
        f"""
// launch: block {block}, grid {grid}
__global__ void k({parameters}) {{
{body}
}}
""",
    )


def floats(n: int) -> np.ndarray[Any, Any]:
    return np.full(n, -1, np.float32)


def ints(n: int, value: int = -1) -> np.ndarray[Any, Any]:
    return np.full(n, value, np.int32)


TURNS = """
    for (int round = 0; round < 2; ++round) {
        y(round, blockIdx.x, threadIdx.x) = atomicAdd(&turn(0), 1);
        __syncthreads();
    }
"""
