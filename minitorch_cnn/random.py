"""Where random numbers come from: seeded generators on the counter-based Philox bit stream.

The same seed gives the same numbers on every machine and device. They are not PyTorch's numbers.
"""

from __future__ import annotations

import contextlib
import operator
import secrets
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .device import device as Device
from .dtypes import uint8
from .tensor import Tensor

# The state as bytes: a tag, the seed, then Philox's own words, all little-endian.
_STATE = struct.Struct("<8s Q 4Q 2Q 4Q B B I")
_TAG = b"Philox4\x01"


class Generator:
    """A stream of random numbers with a seed and a state that can be saved.

    ``Generator().manual_seed(0)`` starts a stream; ``get_state()`` / ``set_state()`` continue it
    bit for bit. ``.numpy`` is the ``np.random.Generator`` that the samplers draw from.
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = Device(device)
        self._start(67280421310721)  # PyTorch's default seed for a generator nobody seeded

    def _start(self, seed: int) -> None:
        self._seed = seed
        self.numpy = np.random.Generator(np.random.Philox(seed))

    def manual_seed(self, seed: int) -> Generator:
        """Restart from ``seed``: an integer in [-2**63, 2**64 - 1]; -k counts back from 2**64."""
        self._start(_as_seed(seed))
        return self

    def seed(self) -> int:
        """Restart from a seed of the operating system's, and return it."""
        self._start(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the last :meth:`manual_seed` or :meth:`seed`."""
        return self._seed

    def get_state(self) -> Tensor:
        """The exact position in the stream as a 1-d uint8 tensor."""
        state: Any = self.numpy.bit_generator.state
        arrays = (state["state"]["counter"], state["state"]["key"], state["buffer"])
        words = [int(word) for array in arrays for word in array]
        words += [state["buffer_pos"], state["has_uint32"], state["uinteger"]]
        packed = _STATE.pack(_TAG, self._seed, *words)
        return Tensor._wrap(np.frombuffer(packed, np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue from a :meth:`get_state`; anything else is refused and changes nothing."""
        if getattr(new_state, "dtype", None) is not uint8:
            raise TypeError("expected a torch.ByteTensor: the uint8 tensor that get_state() gave")
        packed = np.asarray(new_state.array).tobytes()
        if len(packed) != _STATE.size:
            raise RuntimeError(
                f"RNG state is wrong size: expected {_STATE.size} bytes, got {len(packed)}"
            )
        tag, seed, *words = _STATE.unpack(packed)
        position, has_uint32, uinteger = words[10:]
        # Drawing never leaves other values here: bytes of another origin are not taken for a state.
        if tag != _TAG or position > 4 or has_uint32 > 1:
            raise RuntimeError("invalid RNG state: these bytes did not come from get_state()")
        fresh = np.random.Philox(0)
        fresh.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array(words[:4], np.uint64),
                "key": np.array(words[4:6], np.uint64),
            },
            "buffer": np.array(words[6:10], np.uint64),
            "buffer_pos": position,
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
        self._seed = seed
        self.numpy = np.random.Generator(fresh)
        return self

    def clone_state(self) -> Generator:
        """A second generator that will give the same numbers from here on."""
        return Generator(self.device).set_state(self.get_state())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (str(self.device), self.get_state().array.tobytes())

    def __repr__(self) -> str:
        return f"<minitorch_cnn.Generator device={self.device} seed={self._seed}>"


def _rebuild(device: str, state: bytes) -> Generator:
    array = np.frombuffer(state, np.uint8).copy()
    return Generator(device).set_state(Tensor._wrap(array))


def _as_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise RuntimeError(f"manual_seed expected an integer, but got {type(seed).__name__}")
    number = operator.index(seed)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"Overflow: a seed must be in [-2**63, 2**64 - 1], got {number}")
    return number % 2**64


class _Local(threading.local):
    generator: Generator | None = None


_process = Generator()
_local = _Local()


class _DefaultGenerator(Generator):
    """The generator of whoever passes none: the process's, or what :func:`use_generator` set."""

    def __init__(self) -> None:
        self.device = _process.device

    @property
    def numpy(self) -> np.random.Generator:
        return (_local.generator or _process).numpy

    @numpy.setter
    def numpy(self, value: np.random.Generator) -> None:
        (_local.generator or _process).numpy = value

    @property
    def _seed(self) -> int:
        return (_local.generator or _process)._seed

    @_seed.setter
    def _seed(self, value: int) -> None:
        (_local.generator or _process)._seed = value


@contextlib.contextmanager
def use_generator(generator: Generator) -> Iterator[None]:
    """Inside the block, and in this thread only, the default generator is ``generator``.

    The DataLoader makes each batch this way: random transforms in several threads neither share
    one stream nor depend on which thread came first.
    """
    previous = _local.generator
    _local.generator = generator
    try:
        yield
    finally:
        _local.generator = previous


default_generator: Generator = _DefaultGenerator()
_fork_lock = threading.RLock()


def manual_seed(seed: int) -> Generator:
    """Seed the generator that every sampler uses unless it is given its own."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the operating system and return that seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator: a uint8 tensor for :func:`set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator from a saved state."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Sequence[Any] | None = None, enabled: bool = True) -> Iterator[None]:
    """Whatever is drawn or seeded inside the block leaves no trace in the default generator.

    All devices draw from one stream here, so ``devices`` changes nothing.
    """
    del devices
    if not enabled:
        yield
        return
    with _fork_lock:
        saved = default_generator.get_state()
        try:
            yield
        finally:
            default_generator.set_state(saved)
