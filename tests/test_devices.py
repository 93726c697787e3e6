"""Device queries, backend flags and settings: as on a CPU-only PyTorch, and truthful."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from minitorch_cnn import accelerator, backends, cuda, settings
from minitorch_cnn.device import device

no_gpu = pytest.mark.skipif(cuda.is_available(), reason="a GPU can be used here")


@pytest.fixture(autouse=True)
def _forget_the_probe() -> Any:
    cuda.why_unavailable.cache_clear()
    yield
    cuda.why_unavailable.cache_clear()


# Without a GPU, every question has PyTorch's answer

QUESTIONS = [
    "cuda.is_available()", "cuda.device_count()", "cuda.is_initialized()",
    "cuda.memory_allocated()", "cuda.max_memory_allocated()", "cuda.memory_reserved()",
    "cuda.empty_cache()",
    "cuda.manual_seed(1)", "cuda.manual_seed_all(1)", "cuda.is_bf16_supported()",
    "accelerator.is_available()", "accelerator.current_accelerator()",
    "accelerator.current_accelerator(check_available=True)", "accelerator.device_count()",
    "backends.cudnn.is_available()", "backends.cudnn.version()", "backends.cudnn.enabled",
    "backends.cudnn.benchmark", "backends.cudnn.deterministic", "backends.cudnn.allow_tf32",
    "backends.cuda.is_built()", "backends.cuda.matmul.allow_tf32",
    "backends.mps.is_available()", "backends.mps.is_built()",
]  # fmt: skip
REFUSALS = [
    "cuda.init()", "cuda.current_device()", "cuda.get_device_name()", "cuda.get_device_name(0)",
    "cuda.get_device_capability()", "cuda.synchronize()", "cuda.mem_get_info()",
    "accelerator.synchronize()", "accelerator.current_device_index()",
    "accelerator.set_device_index(0)", "accelerator.empty_cache()",
    "accelerator.memory_allocated()", "accelerator.memory_reserved()",
]  # fmt: skip
OURS = {"cuda": cuda, "accelerator": accelerator, "backends": backends}


@no_gpu
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_pytorchs(question: str) -> None:
    assert eval(question, dict(OURS)) == eval(f"torch.{question}", {"torch": torch})


@no_gpu
@pytest.mark.parametrize("question", REFUSALS)
def test_refusals_are_pytorchs(question: str) -> None:
    with pytest.raises(Exception) as theirs:
        eval(f"torch.{question}", {"torch": torch})
    with pytest.raises(theirs.type, match="available: "):
        eval(question, dict(OURS))


@no_gpu
def test_moving_to_a_gpu_says_why_not() -> None:
    with pytest.raises(AssertionError, match="CUDA is not available: "):
        cuda.move(np.zeros(3), device("cuda"))


@no_gpu
def test_asking_imports_no_cupy() -> None:
    code = "import sys; from minitorch_cnn import cuda; cuda.is_available(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cupy" not in done.stdout.split()


def test_todays_device_idiom() -> None:
    if accelerator.is_available():
        chosen = accelerator.current_accelerator()
    else:
        chosen = device("cpu")
    assert chosen is not None
    assert chosen.type == ("cuda" if cuda.is_available() else "cpu")
    pinned = {"num_workers": 1, "pin_memory": True} if cuda.is_available() else {}
    assert bool(pinned) == cuda.is_available()


@pytest.mark.parametrize("name", ["Stream", "Event", "amp", "nvtx", "max_memory_reserved"])
def test_missing_features_are_named(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(cuda, name)


# The sentence that says what is missing


class FakeDriver:
    """Stands for libcuda: what ``cuInit`` answers and which CUDA version it runs."""

    def __init__(self, version: int = 13000, init: int = 0) -> None:
        self.version = version
        self.init = init

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDriverGetVersion(self, pointer: Any) -> int:
        pointer._obj.value = self.version
        return 0


class _Hook:
    def __enter__(self) -> None:
        pass


class FakeCupy(ModuleType):
    """The few calls that cuda.py makes, for two devices of 100 bytes."""

    def __init__(self, answer: Any = 5) -> None:
        super().__init__("cupy")
        self.answer = answer
        self.chosen = 0
        self.freed = False
        self.synchronized: list[int] = []
        properties = {"name": b"Fake 1", "major": 9, "minor": 0}
        self.cuda = SimpleNamespace(
            MemoryHook=_Hook,
            Device=self._device,
            runtime=SimpleNamespace(
                getDevice=lambda: self.chosen,
                setDevice=lambda index: setattr(self, "chosen", index),
                getDeviceCount=lambda: 2,
                getDeviceProperties=lambda index: properties,
                memGetInfo=lambda: (40, 100),
            ),
        )

    def _device(self, index: int) -> Any:
        fake = self

        class Chosen:
            def __enter__(self) -> None:
                pass

            def __exit__(self, *exc: object) -> None:
                pass

            def synchronize(self) -> None:
                fake.synchronized.append(index)

        return Chosen()

    def arange(self, n: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(__pow__=None) if self.answer is None else _Sums(self.answer)

    def asarray(self, array: Any) -> Any:
        return ("on the GPU", array)

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(
            used_bytes=lambda: 10,
            total_bytes=lambda: 30,
            free_all_blocks=lambda: setattr(self, "freed", True),
        )


class _Sums:
    def __init__(self, answer: int) -> None:
        self.answer = answer

    def __pow__(self, power: int) -> _Sums:
        return self

    def sum(self) -> int:
        return self.answer


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A machine with kernels, a driver and CuPy, each as the test wants it."""

    def build(driver: Any = None, cupy: Any = None, kernels: bool = True) -> None:
        (tmp_path / "conv2d.cu").touch() if kernels else None
        monkeypatch.setattr(cuda, "kernels", SimpleNamespace(__path__=[str(tmp_path)]))
        monkeypatch.setattr(cuda, "_driver", lambda: driver)
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: cupy if name == "cupy" else find(name)
        )
        monkeypatch.setattr(cuda, "_cupy", lambda: cupy)

    return build


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"kernels": False}, "no CUDA kernels"),
        ({}, "no NVIDIA driver"),
        ({"driver": FakeDriver(init=100)}, "no usable GPU.*100"),
        ({"driver": FakeDriver(11040)}, r"too old: it runs CUDA 11\.4"),
        ({"driver": FakeDriver(12080)}, r"CuPy is not installed: pip install .*\[cuda12\]"),
        ({"driver": FakeDriver(13010)}, r"CuPy is not installed: pip install .*\[cuda13\]"),
        ({"driver": FakeDriver(), "cupy": FakeCupy(answer=4)}, "wrong results"),
        (
            {"driver": FakeDriver(), "cupy": FakeCupy(RuntimeError("no libnvrtc.so\nmore"))},
            r"cannot compute \(no libnvrtc.so\): pip install",
        ),
        ({"driver": object()}, "looking for a GPU failed: AttributeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_unavailable(machine: Any, parts: dict[str, Any], says: str) -> None:
    machine(**parts)
    why = cuda.why_unavailable()
    assert why is not None
    assert "\n" not in why
    assert not cuda.is_available()
    with pytest.raises(AssertionError, match=says):
        cuda.current_device()


def test_with_a_gpu(machine: Any) -> None:
    cupy = FakeCupy()
    machine(FakeDriver(), cupy)
    assert cuda.why_unavailable() is None
    assert cuda.is_available()
    assert accelerator.is_available()
    assert accelerator.current_accelerator() == device("cuda")
    assert cuda.device_count() == accelerator.device_count() == 2
    assert cuda.get_device_name() == "Fake 1"
    assert cuda.get_device_capability("cuda:1") == (9, 0)
    accelerator.set_device_index(1)
    assert cuda.current_device() == accelerator.current_device_index() == 1
    with pytest.raises(ValueError, match="Expected a cuda device"):
        cuda.set_device("cpu")
    accelerator.synchronize()
    cuda.synchronize(0)
    assert cupy.synchronized == [1, 0]
    assert (cuda.memory_allocated(), accelerator.memory_reserved()) == (10, 30)
    assert cuda.mem_get_info() == (40, 100)
    accelerator.empty_cache()
    assert cupy.freed
    x = np.zeros(3)
    assert cuda.move(x, device("cuda")) == ("on the GPU", x)


# Flags and settings


def test_cudnn_as_old_scripts_use_it() -> None:
    import minitorch_cnn.backends.cudnn as cudnn

    cudnn.benchmark = True
    try:
        assert backends.cudnn.benchmark is True
        with cudnn.flags(enabled=False, deterministic=True):
            assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (False, False, True)
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, True, False)
    finally:
        cudnn.benchmark = False


def test_other_backends_say_no() -> None:
    for name in ("mkl", "mkldnn", "openmp"):
        assert getattr(backends, name).is_available() is False
    with pytest.raises(AttributeError, match="xnnpack"):
        _ = backends.xnnpack


def test_determinism() -> None:
    settings.use_deterministic_algorithms(True, warn_only=True)
    assert settings.are_deterministic_algorithms_enabled()
    assert settings.is_deterministic_algorithms_warn_only_enabled()
    settings.use_deterministic_algorithms(False)
    assert not settings.are_deterministic_algorithms_enabled()
    assert not settings.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("name", ["set_num_threads", "set_num_interop_threads"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_thread_counts_refuse_what_pytorch_refuses(name: str, wrong: Any) -> None:
    with pytest.raises(Exception) as theirs:
        getattr(torch, name)(wrong)
    with pytest.raises(theirs.type, match=name):
        getattr(settings, name)(wrong)


def test_thread_counts() -> None:
    before = settings.get_num_threads()
    try:
        settings.set_num_threads(1)
        assert settings.get_num_threads() == 1
        settings.set_num_interop_threads(2)
        assert settings.get_num_interop_threads() == 2
    finally:
        settings.set_num_threads(before)


def test_precision() -> None:
    assert settings.get_float32_matmul_precision() == "highest"
    settings.set_float32_matmul_precision("high")
    assert settings.get_float32_matmul_precision() == "high"
    with pytest.warns(UserWarning, match="'low' is not one of"):
        settings.set_float32_matmul_precision("low")
    assert settings.get_float32_matmul_precision() == "high"
    settings.set_float32_matmul_precision("highest")
    assert settings.set_flush_denormal(True) is False


def test_default_device() -> None:
    settings.set_default_device("cpu")
    settings.set_default_device(None)
    assert settings.get_default_device() == device("cpu")
    with pytest.raises(NotImplementedError, match="no global device"):
        settings.set_default_device("cuda")


# The device class


@pytest.mark.parametrize(
    "arguments", [("cpu",), ("cuda",), ("cuda:1",), ("cuda", 1), ("cpu", 0), ("cpu:0",)]
)
def test_device_is_pytorchs(arguments: tuple[Any, ...]) -> None:
    ours, theirs = device(*arguments), torch.device(*arguments)
    assert (ours.type, ours.index) == (theirs.type, theirs.index)
    assert (str(ours), repr(ours)) == (str(theirs), repr(theirs))
    assert device(ours) == ours
    assert hash(device(ours)) == hash(ours)
    assert ours != device("cuda:7")


@pytest.mark.parametrize(
    "arguments",
    [("gpu",), ("cuda:x",), ("cuda:",), ("cuda:1", 1), ("",), (None,), (1.5,), ("cuda:-1",)],
)
def test_device_refuses_what_pytorch_refuses(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(Exception) as theirs:
        torch.device(*arguments)
    with pytest.raises(theirs.type):
        device(*arguments)
