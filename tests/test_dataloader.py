"""The DataLoader, against torch.utils.data where it answers."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch.utils.data as theirs
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn.utils.data as ours
from minitorch_cnn.random import (
    Generator,
    default_generator,
    get_rng_state,
    manual_seed,
    set_rng_state,
)

from .data_common import Squares, Stream, outcome, plain


class Noisy(Squares):
    """Samples that draw from the default generator, as random transforms do."""

    def __getitem__(self, index: int) -> tuple[int, float]:
        time.sleep(0.0005 * (index % 3))  # so that threads overtake each other
        return index, float(default_generator.numpy.random())


def workers_alive() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("DataLoader worker")]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


# The DataLoader


@given(
    n=st.integers(0, 23),
    batch_size=st.integers(1, 7) | st.none(),
    drop_last=st.booleans(),
    num_workers=st.integers(0, 3),
)
def test_loader_batches_are_pytorchs(
    n: int, batch_size: int | None, drop_last: bool, num_workers: int
) -> None:
    drop_last = drop_last and batch_size is not None
    mine = ours.DataLoader(Squares(n), batch_size, drop_last=drop_last, num_workers=num_workers)
    other = theirs.DataLoader(Squares(n), batch_size, drop_last=drop_last)
    assert plain(list(mine)) == plain(list(other))
    assert len(mine) == len(other) == len(iter(mine))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"prefetch_factor": -1, "num_workers": 1},
        {"persistent_workers": True},
        {"sampler": range(3), "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"drop_last": 1},
    ],
)
def test_loader_refuses_what_pytorch_refuses(arguments: dict[str, Any]) -> None:
    expected = outcome(lambda: theirs.DataLoader(range(5), **arguments))
    assert isinstance(expected, type)
    assert outcome(lambda: ours.DataLoader(range(5), **arguments)) is expected


@pytest.mark.parametrize(
    "arguments", [{"shuffle": True}, {"sampler": range(3)}, {"batch_sampler": [[0]]}]
)
def test_loader_lets_a_stream_decide_its_order(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="IterableDataset: expected unspecified"):
        ours.DataLoader(Stream(3), **arguments)


def test_loader_takes_every_keyword_of_todays_scripts() -> None:
    loader = ours.DataLoader(
        Squares(5), batch_size=2, shuffle=False, sampler=None, batch_sampler=None, num_workers=1,
        collate_fn=None, pin_memory=True, drop_last=False, timeout=5, worker_init_fn=None,
        multiprocessing_context="fork", generator=None, prefetch_factor=4,
        persistent_workers=True, pin_memory_device="", in_order=True,
    )  # fmt: skip
    assert plain(list(loader)) == plain(list(ours.DataLoader(Squares(5), 2)))
    assert (loader.batch_size, loader.prefetch_factor, loader.num_workers) == (2, 4, 1)
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3


def test_loader_takes_samplers_batch_samplers_and_collate_functions() -> None:
    data = Squares(10)
    assert plain(list(ours.DataLoader(data, 2, sampler=[3, 1, 2]))) == [
        ("torch.int64", [9, 1]), ("torch.int64", [4]),
    ]  # fmt: skip
    assert plain(list(ours.DataLoader(data, batch_sampler=[[5], [1, 2]]))) == [
        ("torch.int64", [25]), ("torch.int64", [1, 4]),
    ]  # fmt: skip
    assert list(ours.DataLoader(data, 4, collate_fn=sum)) == [14, 126, 145]
    assert next(iter(ours.DataLoader([np.zeros(2)], batch_size=None))).array.shape == (2,)


def test_shuffled_epochs_repeat_resume_and_differ() -> None:
    loader = ours.DataLoader(Squares(40), 7, shuffle=True)
    manual_seed(5)
    first = plain(list(loader))
    state = get_rng_state()
    second = plain(list(loader))
    set_rng_state(state)
    assert plain(list(loader)) == second
    assert first != second
    manual_seed(5)
    assert plain(list(loader)) == first
    assert sorted(i for _, batch in first for i in batch) == [i * i for i in range(40)]


def test_a_loaders_generator_alone_decides_its_order() -> None:
    def order(seed: int) -> Any:
        generator = Generator().manual_seed(seed)
        return plain(list(ours.DataLoader(Squares(40), 7, shuffle=True, generator=generator)))

    before = get_rng_state().array.copy()
    assert order(1) == order(1) != order(2)
    assert (get_rng_state().array == before).all()


def test_random_numbers_do_not_depend_on_the_number_of_workers() -> None:
    def epochs(num_workers: int) -> Any:
        manual_seed(11)
        loader = ours.DataLoader(Noisy(30), 4, shuffle=True, num_workers=num_workers)
        return [plain(list(loader)), plain(list(loader)), float(default_generator.numpy.random())]

    expected = epochs(0)
    assert expected[0] != expected[1]
    drawn = [value for batch in expected[0] for value in batch[1][1]]
    assert len(set(drawn)) == 30
    for num_workers in (1, 2, 4):
        assert epochs(num_workers) == expected


def test_manual_seed_inside_a_dataset_stays_inside_its_batch() -> None:
    class Seeding(Squares):
        def __getitem__(self, index: int) -> float:
            manual_seed(index)
            return float(default_generator.numpy.random())

    manual_seed(1)
    list(ours.DataLoader(Squares(4)))
    expected = float(default_generator.numpy.random())
    manual_seed(1)
    list(ours.DataLoader(Seeding(4)))
    assert float(default_generator.numpy.random()) == expected


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_reaches_the_consumer_at_its_batch(num_workers: int) -> None:
    iterator = iter(ours.DataLoader(Squares(10, bad=5), 2, num_workers=num_workers))
    assert plain([next(iterator), next(iterator)]) == [
        ("torch.int64", [0, 1]), ("torch.int64", [4, 9]),
    ]  # fmt: skip
    with pytest.raises(KeyError, match="no sample 5") as info:
        next(iterator)
    text = "".join(traceback.format_exception(info.value))
    assert "in fail" in text
    assert ("raised in DataLoader worker" in text) == bool(num_workers)
    assert plain(list(iterator)) == [("torch.int64", [36, 49]), ("torch.int64", [64, 81])]


def test_an_exception_in_the_sampler_or_collate_reaches_the_consumer() -> None:
    def sampler() -> Iterator[int]:
        yield 0
        raise LookupError("sampler")

    iterator = iter(ours.DataLoader(Squares(5), sampler=sampler(), num_workers=1))
    with pytest.raises(LookupError, match="sampler"):
        list(iterator)

    def collate(samples: list[int]) -> Any:
        raise ArithmeticError("collate")

    with pytest.raises(ArithmeticError, match="collate"):
        next(iter(ours.DataLoader(Squares(5), collate_fn=collate, num_workers=2)))


def test_workers_end_after_an_epoch_a_break_and_an_exception() -> None:
    assert wait_until(lambda: not workers_alive())
    for _ in ours.DataLoader(Squares(50), 2, num_workers=3):
        break
    assert wait_until(lambda: not workers_alive())
    list(ours.DataLoader(Squares(50), 2, num_workers=3))
    assert wait_until(lambda: not workers_alive())
    with pytest.raises(KeyError):
        list(ours.DataLoader(Squares(50, bad=20), 2, num_workers=3))
    gc.collect()
    assert wait_until(lambda: not workers_alive())


def test_a_break_cancels_what_was_not_begun() -> None:
    class Counting(Squares):
        seen = 0

        def __getitem__(self, index: int) -> int:
            Counting.seen += 1
            time.sleep(0.01)
            return index

    for _ in ours.DataLoader(Counting(100), num_workers=1, prefetch_factor=20):
        break
    assert wait_until(lambda: not workers_alive())
    assert Counting.seen <= 4


def test_workers_load_ahead_but_no_further_than_asked() -> None:
    loaded: list[int] = []

    class Counting(Squares):
        def __getitem__(self, index: int) -> int:
            loaded.append(index)
            return index

    iterator = iter(ours.DataLoader(Counting(100), num_workers=2, prefetch_factor=3))
    next(iterator)
    assert wait_until(lambda: len(loaded) == 7)  # the one taken, and 2 * 3 ahead
    time.sleep(0.05)
    assert len(loaded) == 7


def test_a_batch_that_takes_too_long_is_a_timeout() -> None:
    release = threading.Event()

    class Stuck(Squares):
        def __getitem__(self, index: int) -> int:
            if index == 1:
                release.wait(10)
            return index

    iterator = iter(ours.DataLoader(Stuck(3), num_workers=1, timeout=0.2))
    next(iterator)
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        next(iterator)
    release.set()
    assert plain(list(iterator)) == [("torch.int64", [1]), ("torch.int64", [2])]
    with pytest.raises(AssertionError, match="num_workers > 0"):
        iter(ours.DataLoader(Squares(3), timeout=1))


def test_worker_init_fn_runs_in_every_worker_and_may_fail() -> None:
    seen: list[Any] = []

    def init(worker_id: int) -> None:
        info = ours.get_worker_info()
        assert info is not None
        assert info.id == worker_id
        seen.append((worker_id, info.num_workers, info.seed))

    data = Squares(6)
    loader = ours.DataLoader(data, num_workers=3, worker_init_fn=init)
    list(loader)
    assert wait_until(lambda: len(seen) == 3)
    assert sorted(s[:2] for s in seen) == [(0, 3), (1, 3), (2, 3)]
    assert len({s[2] for s in seen}) == 3
    assert ours.get_worker_info() is None

    def failing(worker_id: int) -> None:
        raise OSError("no disk")

    iterator = iter(ours.DataLoader(data, num_workers=1, worker_init_fn=failing))
    with pytest.raises(OSError, match="no disk"):
        next(iterator)
    with pytest.raises(RuntimeError, match="worker_init_fn failed"):
        next(iterator)
    del iterator
    gc.collect()
    assert wait_until(lambda: not workers_alive())


def test_persistent_workers_stay_the_same_threads() -> None:
    class Named(Squares):
        def __getitem__(self, index: int) -> int:
            time.sleep(0.002)  # long enough for both workers to have some
            return threading.get_ident()

    loader = ours.DataLoader(Named(20), num_workers=2, persistent_workers=True)
    epochs = [{b.array.item() for b in loader} for _ in range(3)]
    assert len(set().union(*epochs)) == 2
    del loader
    gc.collect()
    assert wait_until(lambda: not workers_alive())


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_stream_gives_each_sample_once_in_order(num_workers: int) -> None:
    def batches(**kwargs: Any) -> Any:
        return plain(list(ours.DataLoader(Stream(7), num_workers=num_workers, **kwargs)))

    def expected(**kwargs: Any) -> Any:
        return plain(list(theirs.DataLoader(TheirStream(), **kwargs)))

    class TheirStream(theirs.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(7))

    for kwargs in [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}]:
        assert batches(**kwargs) == expected(**kwargs)
    assert len(ours.DataLoader(Stream(7), 3)) == 3
    assert len(ours.DataLoader(Stream(7), 3, drop_last=True)) == 2


def test_a_stream_that_shards_itself_by_worker_is_whole() -> None:
    class Sharded(Stream):
        def __iter__(self) -> Iterator[int]:
            info = ours.get_worker_info()
            first, step = (0, 1) if info is None else (info.id, info.num_workers)
            return iter(range(first, self.n, step))

    loader = ours.DataLoader(Sharded(10), 4, num_workers=3)
    assert [i for batch in loader for i in batch.array] == list(range(10))


def test_two_iterators_of_one_loader_do_not_disturb_each_other() -> None:
    loader = ours.DataLoader(Squares(9), 2, num_workers=2, persistent_workers=True)
    pairs = list(zip(loader, loader))
    assert [plain(a) for a, _ in pairs] == [plain(b) for _, b in pairs]
    assert len(pairs) == 5


@pytest.mark.parametrize("ending", ["", "del iterator", "raise SystemExit(0)"])
def test_a_program_may_end_in_the_middle_of_an_epoch(ending: str) -> None:
    code = f"""if True:
        import hashlib
        from minitorch_cnn.utils.data import DataLoader, Dataset
        class Busy(Dataset):
            def __len__(self): return 1000
            def __getitem__(self, i): return hashlib.sha256(bytes(2_000_000)).hexdigest()
        iterator = iter(DataLoader(Busy(), 4, num_workers=3))
        next(iterator)
        {ending}
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_datasets_may_call_kernels(layer: str) -> None:
    """In several threads, while the main thread does so too: workqueue aborts if unprotected."""
    code = """if True:
        import numpy as np
        from minitorch_cnn.ops.pool import max_pool2d
        from minitorch_cnn.random import default_generator, manual_seed
        from minitorch_cnn.tensor import Tensor
        from minitorch_cnn.utils.data import DataLoader, Dataset
        def pooled(shape):
            x = Tensor._wrap(default_generator.numpy.random(shape, np.float32))
            return max_pool2d(x, kernel_size=2)[0]
        class Pooled(Dataset):
            def __len__(self): return 24
            def __getitem__(self, index): return pooled((3, 96, 96, 4)).array.sum()
        def epoch(num_workers):
            manual_seed(0)
            loader = DataLoader(Pooled(), 2, num_workers=num_workers)
            return [(batch.array.tolist(), pooled((8, 3, 96, 96)).array.sum()) for batch in loader]
        expected = epoch(0)
        assert epoch(1) == expected
        assert epoch(3) == expected
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NUMBA_THREADING_LAYER": layer},
    )
    assert done.returncode == 0, done.stderr
