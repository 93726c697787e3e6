"""Losses and tables: PyTorch's answers, refusals and warnings, and the arguments of 2017."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn.nn import functional as F

from ..oracle import assert_same, compare, pair

TF = torch.nn.functional
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
CLASSES = np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x, y, c: f.nll_loss(x, c),
        lambda f, x, y, c: f.nll_loss(x, c[:3]),
        lambda f, x, y, c: f.nll_loss(x, c + 1),
        lambda f, x, y, c: f.nll_loss(x, c - 1),
        lambda f, x, y, c: f.nll_loss(x, c * 1.0),
        lambda f, x, y, c: f.nll_loss(x, c.int()),
        lambda f, x, y, c: f.nll_loss(x, c[:, None]),
        lambda f, x, y, c: f.nll_loss(x[0], c[1]),
        lambda f, x, y, c: f.nll_loss(x[0], c[1:2]),
        lambda f, x, y, c: f.nll_loss(x[0, 0], c[1]),
        lambda f, x, y, c: f.nll_loss(x[:0], c[:0]),
        lambda f, x, y, c: f.nll_loss(x[:0], c[:0], reduction="sum"),
        lambda f, x, y, c: f.nll_loss(x, c * 0 - 100),
        lambda f, x, y, c: f.nll_loss(x, c, ignore_index=1),
        lambda f, x, y, c: f.nll_loss(x, c, y[0]),
        lambda f, x, y, c: f.nll_loss(x, c, y[0, :2]),
        lambda f, x, y, c: f.nll_loss(x, c, y[0].float()),
        lambda f, x, y, c: f.nll_loss(x, c, reduction="median"),
        lambda f, x, y, c: f.nll_loss(x[:, :, None], c[:, None]),
        lambda f, x, y, c: f.nll_loss(x[:, :, None], c),
        lambda f, x, y, c: f.nll_loss(x, c, size_average=False),
        lambda f, x, y, c: f.nll_loss(x, c, None, True, 1, False),
        lambda f, x, y, c: f.cross_entropy(x, c),
        lambda f, x, y, c: f.cross_entropy(x, c.int()),
        lambda f, x, y, c: f.cross_entropy(x, y.softmax(1)),
        lambda f, x, y, c: f.cross_entropy(x, y.softmax(1).float()),
        lambda f, x, y, c: f.cross_entropy(x, y, ignore_index=1),
        lambda f, x, y, c: f.cross_entropy(x, c, label_smoothing=1.5),
        lambda f, x, y, c: f.cross_entropy(x, c, label_smoothing=0.2),
        lambda f, x, y, c: f.cross_entropy(x, c, y[0].abs(), label_smoothing=0.2, ignore_index=0),
        lambda f, x, y, c: f.cross_entropy(x, y.long()),
        lambda f, x, y, c: f.cross_entropy(x[0], c[1]),
        lambda f, x, y, c: f.cross_entropy(x[0], y[0]),
        lambda f, x, y, c: f.cross_entropy(x, y[:, 0]),
        lambda f, x, y, c: f.cross_entropy(x[:, :, None, None], c[:, None, None]),
        lambda f, x, y, c: f.cross_entropy(x, y, y[0, :2]),
        lambda f, x, y, c: f.mse_loss(x, y),
        lambda f, x, y, c: f.mse_loss(x, y[0]),
        lambda f, x, y, c: f.mse_loss(x, y[:, 0]),
        lambda f, x, y, c: f.mse_loss(x, y.float()),
        lambda f, x, y, c: f.mse_loss(x, c[:3]),
        lambda f, x, y, c: f.mse_loss(c, c),
        lambda f, x, y, c: f.mse_loss(x, y, weight=y * y),
        lambda f, x, y, c: f.mse_loss(x, y, weight=y[0]),
        lambda f, x, y, c: f.mse_loss(x, y, reduction="no"),
        lambda f, x, y, c: f.mse_loss(x, y, False),
        lambda f, x, y, c: f.l1_loss(x, y, reduction="sum"),
        lambda f, x, y, c: f.l1_loss(x, y, weight=y * y, reduction="none"),
        lambda f, x, y, c: f.smooth_l1_loss(x, y, beta=0.0),
        lambda f, x, y, c: f.smooth_l1_loss(x, y, beta=-1.0),
        lambda f, x, y, c: f.smooth_l1_loss(x, y, None, None, "sum", 0.3),
        lambda f, x, y, c: f.huber_loss(x, y, "sum", 0.3),
        lambda f, x, y, c: f.huber_loss(x, y, delta=0.0),
        lambda f, x, y, c: f.huber_loss(x, y, weight=y * y),
        lambda f, x, y, c: f.binary_cross_entropy(x, y),
        lambda f, x, y, c: f.binary_cross_entropy(x.sigmoid(), y.sigmoid()),
        lambda f, x, y, c: f.binary_cross_entropy(x.sigmoid(), y[0].sigmoid()),
        lambda f, x, y, c: f.binary_cross_entropy(x.sigmoid(), y.sigmoid().float()),
        lambda f, x, y, c: f.binary_cross_entropy(x.sigmoid(), y.sigmoid(), y[0].abs()),
        lambda f, x, y, c: f.binary_cross_entropy_with_logits(x, y.sigmoid()),
        lambda f, x, y, c: f.binary_cross_entropy_with_logits(x, y[0]),
        lambda f, x, y, c: f.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=y[0]),
        lambda f, x, y, c: f.kl_div(x, y.softmax(1)),
        lambda f, x, y, c: f.kl_div(x, y.softmax(1), reduction="batchmean"),
        lambda f, x, y, c: f.kl_div(x, y, log_target=True, reduction="none"),
        lambda f, x, y, c: f.kl_div(x, y, reduction="no"),
        lambda f, x, y, c: f.soft_margin_loss(x, y.sign()),
        lambda f, x, y, c: f.hinge_embedding_loss(x, y.sign(), 0.5),
        lambda f, x, y, c: f.margin_ranking_loss(x, y, x.sign(), 0.5),
        lambda f, x, y, c: f.margin_ranking_loss(x, y, x[0].sign()),
        lambda f, x, y, c: f.cosine_embedding_loss(x, y, x[:, 0].sign(), 0.5),
        lambda f, x, y, c: f.cosine_embedding_loss(x[0], y[0], x[0, 0].sign()),
        lambda f, x, y, c: f.cosine_embedding_loss(x, y, x.sign()),
        lambda f, x, y, c: f.multilabel_soft_margin_loss(x, y.sigmoid(), y[0].abs()),
        lambda f, x, y, c: f.multi_margin_loss(x, c),
        lambda f, x, y, c: f.multi_margin_loss(x, c, 2, 0.5, y[0].abs()),
        lambda f, x, y, c: f.multi_margin_loss(x[0], c[0]),
        lambda f, x, y, c: f.multi_margin_loss(x, c, 3),
        lambda f, x, y, c: f.triplet_margin_loss(x, y, x * y, 0.5, 1.0),
        lambda f, x, y, c: f.triplet_margin_loss(x, y, x * y, -1.0),
        lambda f, x, y, c: f.triplet_margin_with_distance_loss(x, y, x * y, swap=True),
        lambda f, x, y, c: f.poisson_nll_loss(x, y.abs() * 5, full=True),
        lambda f, x, y, c: f.poisson_nll_loss(x.abs(), y.abs(), False, reduction="none"),
        lambda f, x, y, c: f.gaussian_nll_loss(x, y, y.abs(), True),
        lambda f, x, y, c: f.gaussian_nll_loss(x, y, y[:, 0].abs()),
        lambda f, x, y, c: f.gaussian_nll_loss(x, y, y[0]),
        lambda f, x, y, c: f.gaussian_nll_loss(x, y, y),
        lambda f, x, y, c: f.gaussian_nll_loss(x, y, 2.0),
        lambda f, x, y, c: f.embedding(c, y),
        lambda f, x, y, c: f.embedding(c + 9, y),
        lambda f, x, y, c: f.embedding(c - 1, y),
        lambda f, x, y, c: f.embedding(x, y),
        lambda f, x, y, c: f.embedding(c, y, padding_idx=9),
        lambda f, x, y, c: f.embedding(c[0], y, 1),
        lambda f, x, y, c: f.one_hot(c),
        lambda f, x, y, c: f.one_hot(c, 5),
        lambda f, x, y, c: f.one_hot(c, 2),
        lambda f, x, y, c: f.one_hot(c[0]),
        lambda f, x, y, c: f.one_hot(c - 1),
        lambda f, x, y, c: f.one_hot(c[:0]),
        lambda f, x, y, c: f.one_hot(c[:0], 3),
        lambda f, x, y, c: f.one_hot(c.int()),
        lambda f, x, y, c: f.one_hot(x),
    ],
)
def test_losses_and_tables(call: Any) -> None:
    compare(
        lambda t, *args: call(t.nn.functional, *args), X, Y, CLASSES, context="X, Y, CLASSES",
        rtol=1e-6, atol=1e-7,
    )  # fmt: skip


LEGACY = [(None, True), (None, False), (True, None), (False, None), (False, True), (True, False),
          (False, False)]  # fmt: skip


@pytest.mark.parametrize(("size_average", "reduce"), LEGACY)
def test_legacy_reduction(size_average: Any, reduce: Any) -> None:
    ours, theirs = pair(X), pair(Y)
    (x, tx), (y, ty) = ours, theirs
    kwargs = {"size_average": size_average, "reduce": reduce}
    for function, other in ((F.mse_loss, TF.mse_loss), (F.l1_loss, TF.l1_loss)):
        with pytest.warns(UserWarning, match="will be deprecated") as mine:
            loss = function(x, y, **kwargs)
        with pytest.warns(UserWarning, match="will be deprecated") as want:
            expected = other(tx, ty, **kwargs)
        assert_same(loss, expected)
        assert str(mine[0].message) == str(want[0].message)
        assert mine[0].filename == __file__
    with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
        layer = mt.nn.MSELoss(**kwargs)
    assert_same(layer(x, y), TF.mse_loss(tx, ty, reduction=layer.reduction))


def test_warnings_of_pytorch() -> None:
    for call in (
        lambda t, x, y: t.nn.functional.mse_loss(x, y[0]),
        lambda t, x, y: t.nn.functional.l1_loss(x, y[:1]),
        lambda t, x, y: t.nn.functional.upsample(x[None, None], scale_factor=2),
        lambda t, x, y: t.nn.functional.upsample_nearest(x[None, None], size=3),
        lambda t, x, y: t.nn.functional.upsample_bilinear(x[None, None], scale_factor=2),
    ):
        with warnings.catch_warnings(record=True) as mine:
            warnings.simplefilter("always")
            ours = call(mt, pair(X)[0], pair(Y)[0])
        with warnings.catch_warnings(record=True) as want:
            warnings.simplefilter("always")
            theirs = call(torch, pair(X)[1], pair(Y)[1])
        assert_same(ours, theirs)
        assert [str(w.message) for w in mine] == [str(w.message) for w in want]
        assert mine[0].filename == __file__
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(pair(X)[0], pair(Y)[0])
