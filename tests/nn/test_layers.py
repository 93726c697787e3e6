"""Every layer against PyTorch's: repr, state_dict, forward, gradients, buffers, in both modes."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from minitorch_cnn import nn

from ..oracle import outcome
from .compare import Constant, compare, copy_state, same_state

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.random(shape) + 0.1


def signs(*shape: int) -> np.ndarray:
    return RNG.choice([-1.0, 1.0], shape)


IMAGE, SIGNAL, ROWS = normal(2, 4, 7, 6), normal(2, 4, 9), normal(5, 6)
CLASSES = RNG.integers(0, 6, 5)
INDICES = RNG.integers(0, 6, (2, 3))
WEIGHT6 = torch.linspace(0.5, 2, 6, dtype=torch.float64)

# name, positional arguments, keyword arguments, inputs
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[np.ndarray, ...]]] = [
    ("Identity", (3, "anything"), {"at": "all"}, (IMAGE,)),
    ("Linear", (6, 3), {}, (ROWS,)),
    ("Linear", (6, 3), {"bias": False}, (normal(2, 3, 6),)),
    ("Linear", (6, 3), {}, (normal(6),)),
    ("Linear", (6, 3), {}, (normal(0, 6),)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1}, (SIGNAL,)),
    ("Conv1d", (4, 6, 3), {"padding": "same", "dilation": 2, "groups": 2}, (SIGNAL,)),
    ("Conv1d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, (SIGNAL,)),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, (IMAGE,)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "bias": False, "dilation": (1, 2)}, (IMAGE,)),
    ("Conv2d", (4, 6, (2, 3)), {"padding": "same"}, (IMAGE,)),
    ("Conv2d", (4, 6, (4, 3)), {"padding": "same", "padding_mode": "reflect"}, (IMAGE,)),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "padding_mode": "circular"}, (IMAGE,)),
    ("Conv2d", (4, 6, 3), {"padding": (1, 2), "padding_mode": "replicate"}, (IMAGE,)),
    ("Conv2d", (4, 6, 3), {}, (normal(4, 7, 6),)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (SIGNAL,)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": (1, 0)}, (IMAGE,)),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}, (IMAGE,)),
    ("Unfold", ((3, 2),), {"padding": 1, "stride": 2}, (IMAGE,)),
    ("Fold", ((5, 6), (2, 3)), {}, (normal(2, 12, 16),)),
    ("MaxPool1d", (3,), {"padding": 1, "ceil_mode": True}, (SIGNAL,)),
    ("MaxPool1d", (3, 2), {"return_indices": True}, (normal(4, 9),)),
    ("MaxPool2d", (2,), {}, (IMAGE,)),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0)), {"return_indices": True}, (IMAGE,)),
    ("MaxPool2d", (3, 2), {"ceil_mode": True, "dilation": (2, 1)}, (normal(4, 7, 6),)),
    ("AvgPool1d", (3, 2, 1), {"count_include_pad": False}, (SIGNAL,)),
    ("AvgPool2d", (3,), {"padding": 1, "ceil_mode": True}, (IMAGE,)),
    ("AvgPool2d", ((3, 2), (1, 2)), {"divisor_override": 5}, (IMAGE,)),
    ("LPPool1d", (2, 3), {"stride": 2}, (SIGNAL,)),
    ("LPPool2d", (2.0, (2, 3)), {"ceil_mode": False}, (positive(2, 4, 7, 6),)),
    ("AdaptiveAvgPool1d", (4,), {}, (SIGNAL,)),
    ("AdaptiveAvgPool2d", (1,), {}, (IMAGE,)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (IMAGE,)),
    ("AdaptiveMaxPool1d", (4,), {"return_indices": True}, (SIGNAL,)),
    ("AdaptiveMaxPool2d", ((None, 4),), {}, (IMAGE,)),
    ("AdaptiveMaxPool2d", ((3, 4), True), {}, (normal(4, 7, 6),)),
    ("BatchNorm1d", (6,), {}, (ROWS,)),
    ("BatchNorm1d", (4,), {"momentum": None}, (SIGNAL,)),
    ("BatchNorm2d", (4,), {}, (IMAGE,)),
    ("BatchNorm2d", (4,), {"momentum": None, "eps": 1e-3}, (IMAGE,)),
    ("BatchNorm2d", (4,), {"affine": False, "momentum": 0.3}, (IMAGE,)),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, (IMAGE,)),
    ("BatchNorm2d", (4,), {"bias": False}, (IMAGE,)),
    ("InstanceNorm1d", (4,), {}, (SIGNAL,)),
    ("InstanceNorm2d", (4,), {}, (IMAGE,)),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, (IMAGE,)),
    ("InstanceNorm2d", (4,), {"affine": True}, (normal(4, 7, 6),)),
    ("GroupNorm", (2, 4), {}, (IMAGE,)),
    ("GroupNorm", (4, 4, 1e-3, False), {}, (SIGNAL,)),
    ("LayerNorm", (6,), {}, (IMAGE,)),
    ("LayerNorm", ([7, 6],), {"bias": False}, (IMAGE,)),
    ("LayerNorm", ((4, 7, 6),), {"elementwise_affine": False}, (IMAGE,)),
    ("RMSNorm", (6,), {}, (IMAGE,)),
    ("RMSNorm", ((7, 6),), {"eps": 1e-3, "elementwise_affine": False}, (IMAGE,)),
    ("LocalResponseNorm", (3,), {}, (IMAGE,)),
    ("LocalResponseNorm", (2, 0.5, 0.6, 2.0), {}, (SIGNAL,)),
    ("ReLU", (), {}, (IMAGE,)),
    ("ReLU", (True,), {}, (IMAGE,)),
    ("ReLU6", (), {"inplace": True}, (IMAGE * 4,)),
    ("RReLU", (), {}, (IMAGE,)),
    ("LeakyReLU", (0.2, True), {}, (IMAGE,)),
    ("PReLU", (), {}, (IMAGE,)),
    ("PReLU", (4, 0.1), {}, (IMAGE,)),
    ("ELU", (0.7,), {}, (IMAGE,)),
    ("CELU", (0.5, True), {}, (IMAGE,)),  # PyTorch rounds 1 / 0.7 to float32
    ("SELU", (), {}, (IMAGE,)),
    ("GELU", (), {}, (IMAGE,)),
    ("GELU", ("tanh",), {}, (IMAGE,)),
    ("SiLU", (True,), {}, (IMAGE,)),
    ("Mish", (), {}, (IMAGE,)),
    ("Hardswish", (True,), {}, (IMAGE * 3,)),
    ("Hardsigmoid", (), {}, (IMAGE * 3,)),
    ("Hardtanh", (-0.5, 0.8), {}, (IMAGE,)),
    ("Hardtanh", (-0.5, 0.8, True), {}, (IMAGE,)),
    ("Hardshrink", (0.4,), {}, (IMAGE,)),
    ("Softshrink", (0.4,), {}, (IMAGE,)),
    ("Softshrink", (0,), {}, (IMAGE,)),
    ("Tanhshrink", (), {}, (IMAGE,)),
    ("Sigmoid", (), {}, (IMAGE,)),
    ("LogSigmoid", (), {}, (IMAGE,)),
    ("Tanh", (), {}, (IMAGE,)),
    ("Softplus", (2.0, 1.5), {}, (IMAGE,)),
    ("Softsign", (), {}, (IMAGE,)),
    ("Threshold", (0.1, -3.0), {}, (IMAGE,)),
    ("GLU", (1,), {}, (IMAGE,)),
    ("Softmax", (1,), {}, (IMAGE,)),
    ("Softmin", (-1,), {}, (IMAGE,)),
    ("LogSoftmax", (1,), {}, (ROWS,)),
    ("Softmax2d", (), {}, (IMAGE,)),
    ("ZeroPad1d", (2,), {}, (SIGNAL,)),
    ("ZeroPad2d", ((1, 2, 3, 0),), {}, (IMAGE,)),
    ("ConstantPad1d", ((1, 2), 1.5), {}, (SIGNAL,)),
    ("ConstantPad2d", (1, -2), {}, (IMAGE,)),
    ("ConstantPad2d", ((-1, 2, 1, -2), 3.0), {}, (IMAGE,)),
    ("ReflectionPad1d", ((3, 1),), {}, (SIGNAL,)),
    ("ReflectionPad2d", (2,), {}, (IMAGE,)),
    ("ReplicationPad1d", (2,), {}, (SIGNAL,)),
    ("ReplicationPad2d", ((1, 2, 3, 4),), {}, (IMAGE,)),
    ("CircularPad1d", (2,), {}, (SIGNAL,)),
    ("CircularPad2d", ((1, 2, 3, 0),), {}, (IMAGE,)),
    ("Flatten", (), {}, (IMAGE,)),
    ("Flatten", (0, 2), {}, (IMAGE,)),
    ("Unflatten", (1, (2, 2)), {}, (IMAGE,)),
    ("PixelShuffle", (2,), {}, (IMAGE,)),
    ("PixelUnshuffle", (2,), {}, (normal(2, 3, 4, 6),)),
    ("ChannelShuffle", (2,), {}, (normal(2, 6, 3, 2),)),
    ("Upsample", (), {"scale_factor": 2}, (IMAGE,)),
    ("Upsample", (), {"size": (5, 9), "mode": "bilinear"}, (IMAGE,)),
    ("Upsample", ((5, 9), None, "bilinear", True), {}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.5, 2.3), "mode": "nearest"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "linear"}, (SIGNAL,)),
    ("UpsamplingNearest2d", (), {"scale_factor": 3}, (IMAGE,)),
    ("UpsamplingBilinear2d", (), {"size": 10}, (IMAGE,)),
    ("Embedding", (6, 3), {}, (INDICES,)),
    ("Embedding", (6, 3, -2), {}, (INDICES,)),
    ("CosineSimilarity", (), {}, (ROWS, normal(5, 6))),
    ("PairwiseDistance", (), {"keepdim": True}, (ROWS, normal(5, 6))),
    ("L1Loss", (), {}, (ROWS, normal(5, 6))),
    ("MSELoss", (), {"reduction": "sum"}, (ROWS, normal(5, 6))),
    ("SmoothL1Loss", (), {"beta": 0.5}, (ROWS, normal(5, 6))),
    ("SmoothL1Loss", (), {"beta": 0.0}, (ROWS, normal(5, 6))),
    ("HuberLoss", ("none", 0.7), {}, (ROWS, normal(5, 6))),
    ("NLLLoss", (), {}, (ROWS, CLASSES)),
    ("NLLLoss", (WEIGHT6,), {"ignore_index": int(CLASSES[0])}, (ROWS, CLASSES)),
    ("NLLLoss", (), {"reduction": "none"}, (normal(2, 6, 3, 2), RNG.integers(0, 6, (2, 3, 2)))),
    ("CrossEntropyLoss", (), {}, (ROWS, CLASSES)),
    ("CrossEntropyLoss", (WEIGHT6,), {"label_smoothing": 0.1, "ignore_index": 2}, (ROWS, CLASSES)),
    ("CrossEntropyLoss", (WEIGHT6,), {"label_smoothing": 0.1}, (ROWS, positive(5, 6))),
    ("CrossEntropyLoss", (), {"reduction": "sum"}, (normal(6), RNG.integers(0, 6, ()))),
    ("BCELoss", (), {}, (RNG.random((5, 6)), RNG.random((5, 6)))),
    ("BCELoss", (WEIGHT6,), {"reduction": "sum"}, (RNG.random((5, 6)), RNG.random((5, 6)))),
    ("BCEWithLogitsLoss", (), {"pos_weight": WEIGHT6}, (ROWS, RNG.random((5, 6)))),
    ("BCEWithLogitsLoss", (WEIGHT6,), {}, (ROWS * 50, RNG.random((5, 6)))),
    ("KLDivLoss", (), {"reduction": "batchmean"}, (ROWS, RNG.random((5, 6)))),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, (ROWS, normal(5, 6))),
    ("PoissonNLLLoss", (), {"full": True}, (ROWS, Constant(positive(5, 6) * 3))),
    ("PoissonNLLLoss", (False,), {}, (positive(5, 6), positive(5, 6))),
    ("GaussianNLLLoss", (), {"full": True}, (ROWS, normal(5, 6), positive(5, 6))),
    ("GaussianNLLLoss", (), {"eps": 0.5}, (ROWS, normal(5, 6), positive(5))),
    ("SoftMarginLoss", (), {}, (ROWS, Constant(signs(5, 6)))),
    ("HingeEmbeddingLoss", (), {"margin": 0.3}, (ROWS, signs(5, 6))),
    ("MarginRankingLoss", (0.2,), {}, (normal(5), normal(5), signs(5))),
    ("CosineEmbeddingLoss", (0.1,), {}, (ROWS, normal(5, 6), signs(5))),
    ("MultiLabelSoftMarginLoss", (WEIGHT6,), {}, (ROWS, RNG.integers(0, 2, (5, 6)) * 1.0)),
    ("MultiMarginLoss", (), {}, (ROWS, CLASSES)),
    ("MultiMarginLoss", (2, 0.8, WEIGHT6), {"reduction": "none"}, (ROWS, CLASSES)),
    ("TripletMarginLoss", (), {"swap": True}, (ROWS, normal(5, 6), normal(5, 6))),
    ("TripletMarginWithDistanceLoss", (), {}, (ROWS, normal(5, 6), normal(5, 6))),
]
MODES = {"train": True, "eval": False}
RANDOM_IN_TRAINING = {"RReLU"}
PYTORCH_ROUNDS = {"Hardsigmoid": 1e-7}  # its 1/6 is of float32 in gradients of any dtype


def build(name: str, args: Any, kwargs: Any) -> tuple[Any, torch.nn.Module]:
    def mine(value: Any) -> Any:
        return nn.Parameter(nn_tensor(value)).data if isinstance(value, torch.Tensor) else value

    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*map(mine, args), **{k: mine(v) for k, v in kwargs.items()})
    return ours, theirs


def nn_tensor(value: torch.Tensor) -> Any:
    from minitorch_cnn.tensor import Tensor

    return Tensor._wrap(value.numpy().copy())


IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(LAYERS)]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layer", LAYERS, ids=IDS)
def test_equals_pytorch(layer: Any, mode: str) -> None:
    name, args, kwargs, inputs = layer
    if mode == "train" and name in RANDOM_IN_TRAINING:
        mode = "eval"
    ours, theirs = build(name, args, kwargs)
    assert repr(ours) == repr(theirs)
    ours, theirs = ours.double(), theirs.double()
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    copy_state(ours, theirs)
    same_state(ours, theirs)
    ours.train(MODES[mode])
    theirs.train(MODES[mode])
    compare(ours, theirs, *inputs, rtol=PYTORCH_ROUNDS.get(name, 0.0))
    if isinstance(theirs, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.InstanceNorm2d)):
        compare(ours, theirs, *inputs)  # the second batch moves running statistics differently


def _takes_weights(layer: Any) -> bool:
    """Whether an argument is a tensor: class weights, which are float64 here."""
    _, args, kwargs, _ = layer
    return any(isinstance(v, torch.Tensor) for v in (*args, *kwargs.values()))


@pytest.mark.parametrize(
    "layer",
    [layer for layer in LAYERS[::4] if not _takes_weights(layer)],
    ids=[i for i, layer in zip(IDS[::4], LAYERS[::4], strict=True) if not _takes_weights(layer)],
)
def test_float32_stays_float32(layer: Any) -> None:
    name, args, kwargs, inputs = layer
    ours, theirs = build(name, args, kwargs)
    copy_state(ours, theirs)
    compare(
        ours.eval(), theirs.eval(),
        *[x if isinstance(x, Constant) or x.dtype.kind != "f" else x.astype("f4") for x in inputs],
    )  # fmt: skip


def test_every_layer_is_here() -> None:
    """Whatever torch.nn layer we have is compared above, or in a test of its own."""
    elsewhere = {
        "Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict",
        "DataParallel", "MaxUnpool1d", "MaxUnpool2d", "Dropout", "Dropout1d", "Dropout2d",
        "AlphaDropout", "FeatureAlphaDropout", "NLLLoss2d",
    }  # fmt: skip
    covered = elsewhere | {name for name, *_ in LAYERS}
    names = {n for n in nn.modules.__all__ if not n.startswith("Lazy")}
    assert names == covered
    assert all(hasattr(torch.nn, n) for n in nn.modules.__all__)


@pytest.mark.parametrize("name", nn.modules.__all__)
def test_signature(name: str) -> None:
    """PyTorch's argument names, order and defaults."""
    mine, want = (inspect.signature(getattr(m, name).__init__) for m in (nn, torch.nn))
    assert [(p.name, p.kind, p.default) for p in mine.parameters.values()] == [
        (p.name, p.kind, p.default) for p in want.parameters.values()
    ]
    mine, want = (inspect.signature(getattr(m, name).forward) for m in (nn, torch.nn))
    if "args" not in mine.parameters and "Lazy" not in name:
        assert list(mine.parameters) == list(want.parameters)


@pytest.mark.parametrize("name", ["MaxUnpool1d", "MaxUnpool2d"])
@pytest.mark.parametrize("output_size", [None, True])
def test_max_unpool(name: str, output_size: Any) -> None:
    x = SIGNAL if name.endswith("1d") else IMAGE
    pool = getattr(torch.nn, name.replace("Un", "").replace("pool", "Pool"))
    y, indices = pool(2, 2, return_indices=True)(torch.from_numpy(x))
    size = list(x.shape) if output_size else None
    ours, theirs = build(name, (2, 2), {})
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, y.numpy(), indices.numpy(), call=lambda m, a, b: m(a, b, size))
    with pytest.raises(ValueError, match="output_size"):
        ours(nn_tensor(y), nn_tensor(indices), [1, 1] if size else [50, 50])


def test_conv_transpose_output_size() -> None:
    ours, theirs = build("ConvTranspose2d", (4, 2, 3), {"stride": (3, 2), "padding": 1})
    ours, theirs = ours.double(), theirs.double()
    copy_state(ours, theirs)
    for size in ([19, 11], [2, 2, 20, 12], (21, 11)):
        compare(ours, theirs, IMAGE, call=lambda m, x, size=size: m(x, output_size=size))
    with pytest.raises(ValueError, match=r"valid sizes range from \[19, 11\] to \[21, 12\]"):
        ours(nn_tensor(torch.from_numpy(IMAGE)), output_size=[22, 11])


@pytest.mark.parametrize("name", [n for n in nn.modules.__all__ if n.startswith("Lazy")])
def test_lazy_layers_become_plain_ones(name: str) -> None:
    shape = {"1d": SIGNAL, "2d": IMAGE}.get(name[-2:], ROWS)
    args = () if "Norm" in name else (8,) if name == "LazyLinear" else (8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch: lazy modules are a new feature
        theirs = getattr(torch.nn, name)(*args)
        ours = getattr(nn, name)(*args)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        with pytest.raises(RuntimeError, match="shape"):
            next(ours.parameters()).shape  # noqa: B018
        copied = copy.deepcopy(ours)
        x = shape.astype(np.float32)
        theirs(torch.from_numpy(x))
        ours(nn_tensor(torch.from_numpy(x)))
    assert type(ours) is getattr(nn, name.removeprefix("Lazy"))
    assert repr(ours) == repr(theirs)
    for key, value in theirs.state_dict().items():
        assert tuple(ours.state_dict()[key].shape) == tuple(value.shape)
    copied.load_state_dict(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(copied.state_dict()[key].array, value.numpy())
    copied(nn_tensor(torch.from_numpy(x)))
    assert type(copied) is type(ours)


@pytest.mark.parametrize(
    "build_odd",
    [
        lambda m: m.Linear(0, 3),
        lambda m: m.Linear(3, 0),
        lambda m: m.Linear(-1, 3),
        lambda m: m.Linear(2.5, 3),
        lambda m: m.Linear("2", 3),
        lambda m: m.Linear(10**9, 10**9),
        lambda m: m.Conv2d(3, 4, 0),
        lambda m: m.Conv2d(3, 4, (2, 3, 4)),
        lambda m: m.Conv2d(3, -4, 3),
        lambda m: m.Conv2d(3, 4, 3, groups=2),
        lambda m: m.Conv2d(4, 3, 3, groups=2),
        lambda m: m.Conv2d(4, 4, 3, groups=0),
        lambda m: m.Conv2d(3, 4, 3, padding="all"),
        lambda m: m.Conv2d(3, 4, 3, 2, "same"),
        lambda m: m.Conv2d(3, 4, 3, padding_mode="mirror"),
        lambda m: m.ConvTranspose2d(3, 4, 3, padding_mode="reflect"),
        lambda m: m.BatchNorm2d(-1),
        lambda m: m.BatchNorm2d(2.5),
        lambda m: m.GroupNorm(3, 4),
        lambda m: m.LayerNorm((2, -1)),
        lambda m: m.Dropout(1.5),
        lambda m: m.Embedding(3, 2, 5),
        lambda m: m.Unflatten(1, 3),
        lambda m: m.Unflatten(1, (2, 2.5)),
        lambda m: m.Hardtanh(1, 0),
        lambda m: m.MultiMarginLoss(3),
        lambda m: m.TripletMarginLoss(-1.0),
        lambda m: m.ReLU(True, True),
        lambda m: m.MaxPool2d(),
    ],
)
def test_odd_arguments(build_odd: Any) -> None:
    """What PyTorch refuses is refused with its type of exception, what it accepts is accepted."""
    mine, want = outcome(lambda: build_odd(nn)), outcome(lambda: build_odd(torch.nn))
    assert isinstance(mine, Exception) == isinstance(want, Exception), (mine, want)
    if isinstance(want, Exception):
        assert isinstance(mine, type(want)), (mine, want)
    else:
        assert repr(mine) == repr(want)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("Conv2d", (3, 4, 3), (2, 4, 8, 8)),
        ("Conv2d", (3, 4, 3), (2, 3, 2, 8)),
        ("Conv2d", (3, 4, 3, 0), (2, 3, 8, 8)),
        ("Conv2d", (3, 4, 3), (8, 8)),
        ("Conv2d", (3, 4, 3, 1, -1), (2, 3, 8, 8)),
        ("Conv2d", (3, 4, 3), (0, 3, 8, 8)),
        ("ConvTranspose2d", (3, 4, 3, 1, 0, 1), (2, 3, 8, 8)),
        ("MaxPool2d", (2, 2, 2), (2, 3, 8, 8)),
        ("MaxPool2d", (9,), (2, 3, 8, 8)),
        ("MaxPool2d", (2, 0), (2, 3, 8, 8)),
        ("MaxPool2d", (2,), (0, 3, 8, 8)),
        ("AvgPool2d", (2, 2, 2), (2, 3, 8, 8)),
        ("BatchNorm2d", (3,), (2, 3, 8)),
        ("BatchNorm2d", (3,), (2, 4, 8, 8)),
        ("BatchNorm2d", (3,), (1, 3, 1, 1)),
        ("BatchNorm1d", (3,), (0, 3)),
        ("BatchNorm1d", (3,), (2, 3, 4, 4)),
        ("InstanceNorm2d", (3,), (2, 3)),
        ("GroupNorm", (2, 4), (2, 6, 3, 3)),
        ("LayerNorm", (5,), (2, 4)),
        ("Linear", (3, 4), (3,)),
        ("Linear", (3, 4), ()),
        ("Linear", (3, 4), (2, 5)),
        ("PReLU", (3,), (2, 4, 5, 5)),
        ("Softmax2d", (), (2, 4)),
        ("AdaptiveAvgPool2d", (3,), (4, 5)),
        ("PixelShuffle", (2,), (2, 3, 4, 4)),
        ("Upsample", (3,), (4, 5)),
        ("Flatten", (3,), (2, 3)),
        ("Unflatten", (1, (2, 3)), (2, 7)),
        ("ReflectionPad2d", (4,), (2, 3, 4, 4)),
    ],
)
def test_odd_inputs(name: str, args: Any, shape: Any) -> None:
    """Wrong ranks, channels and sizes: PyTorch's answer, or its exception with the layer named."""
    x = np.zeros(shape, np.float32)
    ours, theirs = build(name, args, {})
    mine = outcome(lambda: ours(nn_tensor(torch.from_numpy(x))))
    want = outcome(lambda: theirs(torch.from_numpy(x)))
    assert isinstance(mine, Exception) == isinstance(want, Exception), (mine, want)
    if isinstance(want, Exception):
        assert isinstance(mine, type(want)), (mine, want)
        assert f"in layer {name}(" in str(mine)
    else:
        assert tuple(mine.shape) == tuple(want.shape)
