"""The gate for the CUDA kernels: each compiles for every architecture, within its budget."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from minitorch_cnn.kernels import nvrtc, sass, static_gate
from minitorch_cnn.kernels.static_gate import ARCHITECTURES, Usage

SOURCE = """
// launch: block 128, grid-stride over x.size
template <typename T>
__global__ void __launch_bounds__(128) twice(T* x) {
    x[blockIdx.x * 128 + threadIdx.x] *= 2;
}
"""


@pytest.fixture
def wheels() -> None:
    """Compiler and disassembler; CI must have them."""
    try:
        nvrtc.installed_file(nvrtc.WHEEL, nvrtc.LIBRARY)
        nvrtc.installed_file(nvrtc.DISASSEMBLER, "nvdisasm")
    except nvrtc.MissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(static_gate, "directory", lambda: folder)
    return folder


def _file(folder: Path, text: str, name: str = "some.cu") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def _allowed() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(static_gate.BUDGET.read_text(encoding="utf-8"))
    return data


def test_every_kernel_has_a_budget() -> None:
    """Read from the sources alone: this holds where the compiler is not installed, too."""
    paths = sorted(static_gate.HERE.glob("*.cu"))
    names = [
        f"{path.name} {name}"
        for path in paths
        for name in static_gate.instances(path, static_gate.SHOWN)
    ]
    assert sorted(_allowed()["kernels"]) == sorted(names)


@pytest.mark.usefixtures("wheels")
def test_the_gate_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    """If not: ``python -m minitorch_cnn.kernels.static_gate --update``, and look at the changes."""
    status = static_gate.main([])
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert f"x {len(ARCHITECTURES)} architectures: 0 problems" in said.out


@pytest.mark.usefixtures("wheels", "own_cache")
def test_what_opens_and_shuts_it(tmp_path: Path) -> None:
    path = _file(tmp_path, SOURCE)
    kernels = static_gate.measure([path])
    assert [kernel.name for kernel in kernels] == ["twice<float>", "twice<double>"]
    assert {kernel.threads for kernel in kernels} == {128}
    allowed = json.loads(static_gate.budget_text(kernels))
    assert allowed == static_gate.budget(kernels)
    assert static_gate.check(kernels, allowed) == []

    def complaints(**changes: Any) -> list[str]:
        usage = {a: dataclasses.replace(u, **changes) for a, u in kernels[0].usage.items()}
        changed = dataclasses.replace(kernels[0], usage=usage)
        return static_gate.check([changed, kernels[1]], allowed)

    registers = kernels[0].usage["sm_75"].registers
    assert complaints(registers=1) == []  # less is fine
    grown = complaints(registers=99)
    assert f"sm_75: registers 99, the budget is {registers}" in grown[0]
    assert len(grown) == len(ARCHITECTURES)
    assert "some.cu twice<float>, sm_80: shared 4, the budget is 0" in complaints(shared=4)
    assert "some.cu twice<float>, sm_80: stack 8, the budget is 0" in complaints(stack=8)
    assert "some.cu twice<float>, sm_80: spills 8 bytes of registers" in complaints(spills=8)
    assert static_gate.check(kernels[:1], allowed) == [
        "some.cu twice<double>: in budget.json, not in the sources"
    ]
    del allowed["kernels"]["some.cu twice<float>"]
    assert static_gate.check(kernels, allowed) == ["some.cu twice<float>: not in budget.json"]
    allowed["compiler"] = "nvidia-cuda-nvrtc 1.0"
    [refused] = static_gate.check(kernels, allowed)
    assert "1.0" in refused
    assert nvrtc.version() in refused


@pytest.mark.usefixtures("wheels", "own_cache")
def test_a_spill_is_seen(tmp_path: Path) -> None:
    """100 numbers live at once, and 1024 threads to find room for: 64 registers each."""
    text = SOURCE.replace("__launch_bounds__(128)", "__launch_bounds__(1024)").replace(
        "x[blockIdx.x * 128 + threadIdx.x] *= 2;",
        "T v[100]; for (int i = 0; i < 100; i++) v[i] = x[i * 1024 + threadIdx.x];"
        "__syncthreads(); for (int i = 0; i < 100; i++) x[threadIdx.x * 100 + i] = v[99 - i];",
    )
    kernels = static_gate.measure([_file(tmp_path, text)])
    wrong = static_gate.check(kernels, static_gate.budget(kernels))
    assert {line.split(": spills")[0] for line in wrong} == {
        f"some.cu twice<{T}>, {arch}" for T in ("float", "double") for arch in ARCHITECTURES
    }
    assert all(sass.count(kernel.mix.kernel, sass.LOCAL) > 0 for kernel in kernels)


@pytest.mark.usefixtures("wheels")
def test_figures_equal_those_in_the_machine_code(tmp_path: Path, own_cache: Path) -> None:
    """The log's registers and shared memory are what the cubin's own headers say."""
    text = SOURCE.replace(
        "x[blockIdx", "__shared__ T s[96]; s[threadIdx.x % 96] = x[0]; x[blockIdx"
    )
    text = text.replace("*= 2", "*= s[threadIdx.x / 2]")
    path = _file(tmp_path, text)
    for arch in ARCHITECTURES:
        program = static_gate.compile_file(path, arch)
        usage = static_gate.read_log(program.log)
        for name, symbol in program.symbols.items():
            shared, registers = _elf_facts(program.cubin, symbol)
            assert usage[symbol].registers == registers
            assert usage[symbol].shared == (384 if "float" in name else 768)
            # From sm_90 on, the section counts what the system reserves for itself, too.
            reserved = ARCHITECTURES[arch].shared_reserved
            assert shared - usage[symbol].shared == (0 if arch in ("sm_75", "sm_80") else reserved)


def _elf_facts(cubin: bytes, symbol: str) -> tuple[int, int]:
    """The size of .nv.shared.<kernel>, and the registers that .nv.info keeps for its symbol."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(cubin[at : at + size], "little")

    def text(at: int) -> str:
        return cubin[at : cubin.index(b"\0", at)].decode()

    start, entry, count, names = number(40, 8), number(58, 2), number(60, 2), number(62, 2)
    headers = [start + i * entry for i in range(count)]
    names_at = number(headers[names] + 24, 8)
    sections = {
        text(names_at + number(h, 4)): (number(h + 24, 8), number(h + 32, 8), number(h + 40, 4))
        for h in headers
    }
    symbols_at, symbols_size, strings = sections[".symtab"]
    strings_at = number(headers[strings] + 24, 8)
    index = next(
        i
        for i in range(symbols_size // 24)
        if text(strings_at + number(symbols_at + i * 24, 4)) == symbol
    )
    at, size, _ = sections[".nv.info"]
    registers = next(
        number(i + 8, 4)
        for i in range(at, at + size, 4)  # format 4, attribute 0x2f: (symbol, registers)
        if (number(i, 2), number(i + 2, 2), number(i + 4, 4)) == (0x2F04, 8, index)
    )
    return sections[f".nv.shared.{symbol}"][1], registers


@pytest.mark.usefixtures("wheels")
def test_compiled_once(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, SOURCE)
    first = static_gate.compile_file(path, "sm_80")
    compiled: list[str] = []
    compile_cuda = nvrtc.compile_cuda

    def counted(source: str, names: Any, arch: str, file: str) -> nvrtc.Program:
        compiled.append(arch)
        return compile_cuda(source, names, arch, file)

    monkeypatch.setattr(nvrtc, "compile_cuda", counted)
    assert static_gate.compile_file(path, "sm_80") == first
    assert compiled == []
    static_gate.compile_file(path, "sm_90")
    [cached] = own_cache.glob("*sm_80*")
    cached.write_bytes(cached.read_bytes()[:-1])
    assert static_gate.compile_file(path, "sm_80").cubin == first.cubin
    _file(tmp_path, SOURCE.replace("*= 2", "*= 3"))
    static_gate.compile_file(path, "sm_80")
    assert compiled == ["sm_90", "sm_80", "sm_80"]


@pytest.mark.usefixtures("wheels", "own_cache")
def test_an_error_names_file_line_and_architecture(tmp_path: Path) -> None:
    path = _file(tmp_path, SOURCE.replace("threadIdx.x]", "threadIdx.w]"))
    with pytest.raises(nvrtc.CompileError, match=r"some.cu for sm_75:\n(.|\n)*some.cu\(5\)"):
        static_gate.measure([path])


@pytest.mark.usefixtures("wheels", "own_cache")
def test_warnings_are_errors(tmp_path: Path) -> None:
    path = _file(tmp_path, SOURCE.replace("x[blockIdx", "int unused; x[blockIdx"))
    with pytest.raises(nvrtc.CompileError, match=r'warning.*"unused" was declared but never'):
        static_gate.measure([path])


def test_without_the_wheel_it_says_what_to_install() -> None:
    with pytest.raises(nvrtc.MissingError, match=r'pip install "minitorch-cnn\[gate\]"'):
        nvrtc.installed_file("no-such-wheel", "libnvrtc.so")


def test_the_command_says_it_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise nvrtc.MissingError("install it")

    monkeypatch.setattr(static_gate, "measure", missing)
    assert static_gate.main([]) == 1
    assert capsys.readouterr().err == "install it\n"


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "threads", "warps"),
    [  # as cuda_occupancy.h of the toolkit computes them
        ("sm_75", 32, 0, 256, 32),
        ("sm_80", 32, 0, 256, 64),
        ("sm_80", 33, 0, 256, 48),
        ("sm_90", 128, 12800, 128, 16),
        ("sm_90", 20, 48 << 10, 128, 16),
        ("sm_100", 255, 0, 64, 8),
        ("sm_120", 32, 0, 32, 24),
        ("sm_120", 32, 0, 1024, 32),
        ("sm_75", 100, 0, 96, 15),
    ],
)
def test_occupancy(arch: str, registers: int, shared: int, threads: int, warps: int) -> None:
    part = static_gate.occupancy(Usage(registers, shared, 0, 0), threads, arch)
    assert part == warps / ARCHITECTURES[arch].warps


def test_spills_of_a_called_function_are_the_kernels() -> None:
    log = """
ptxas info    : Compiling entry function 'one' for 'sm_75'
ptxas         .     16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 62 registers, used 0 barriers, 1024 bytes smem, 364 bytes cmem[0]
ptxas info    : Function properties for slow_path
ptxas         .     24 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Compiling entry function 'two' for 'sm_75'
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers
"""
    assert static_gate.read_log(log) == {"one": Usage(62, 1024, 24, 12), "two": Usage(8, 0, 0, 0)}
    with pytest.raises(ValueError, match="no figures for one"):
        static_gate.read_log(log.replace("Used 62 registers", "Used a few"))


def test_the_hot_loop_of_a_listing() -> None:
    lines = [
        "LDG.E R1, [R2]", ".L_x_1:", "@!P0 BRA `(.L_x_3)", ".L_x_2:", "LDS R4, [R5]",
        "@P1 FFMA R0, R1, R2, R3", "UIADD3 UR4, UR4, 0x1, URZ", "@P0 BRA `(.L_x_2)", ".L_x_3:",
        "STL [R1], R2", "@P1 BRA `(.L_x_1)", "EXIT", ".L_x_4:", "BRA `(.L_x_4)", "NOP", "NOP",
    ]  # fmt: skip
    listing = "\n".join(
        line if line.startswith(".L") else f"        /*{i:04x}*/       {line} ;"
        for i, line in enumerate(lines)
    )
    mix = sass.read_listing(listing)
    assert mix.loop == {"LDS": 1, "FFMA": 1, "UIADD3": 1, "BRA": 1}
    assert mix.kernel.total() == 10
    assert sass.count(mix.kernel, sass.LOCAL) == 1
    # A loop around it of many instructions, of which one is a tensor core's, counts more.
    outer = listing.replace("STL [R1], R2", "HMMA.16816.F32 R4, R8, R12, R4")
    assert sass.read_listing(outer).loop == {"HMMA": 1, "BRA": 2}


@pytest.mark.usefixtures("wheels", "own_cache")
def test_a_type_that_an_old_architecture_lacks(tmp_path: Path) -> None:
    """It is compiled for the others, and its budget has no figure there."""
    text = SOURCE.replace("// launch", "// types: float, double from sm_90\n// launch")
    kernels = static_gate.measure([_file(tmp_path, text)])
    assert [list(kernel.usage) for kernel in kernels] == [
        list(ARCHITECTURES), ["sm_90", "sm_100", "sm_120"],
    ]  # fmt: skip
    allowed = static_gate.budget(kernels)
    assert allowed["kernels"]["some.cu twice<double>"]["shared"] == [None, None, 0, 0, 0]
    assert static_gate.check(kernels, allowed) == []
    assert "| - / - / " in static_gate.table(kernels)
    allowed["kernels"]["some.cu twice<double>"]["registers"][2] = None
    assert "budget is None" in static_gate.check(kernels, allowed)[0]
