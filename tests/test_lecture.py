"""The lecture's models: their facts, and training step for step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as real_torch

import minitorch_cnn as torch
from minitorch_cnn import datasets
from minitorch_cnn.models import lecture
from minitorch_cnn.nn import functional as F
from minitorch_cnn.tools.twin import in_pytorch

NAMES = ("CNN", "InceptionNet", "DeeperCNN")


def copied(name: str) -> tuple[Any, Any]:
    real_torch.manual_seed(5)
    theirs = getattr(in_pytorch("lecture"), name)()
    ours = getattr(lecture, name)()
    ours.load_state_dict(
        {k: torch.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )
    return ours, theirs


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    data = datasets.MNIST(train=True)
    x = np.asarray(data.data[: 20 * 64], np.float32).reshape(20, 64, 1, 28, 28) / 255
    return x, np.asarray(data.targets[: 20 * 64], np.int64).reshape(20, 64)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_names_and_shapes_are_pytorchs(name: str) -> None:
    ours, theirs = getattr(lecture, name)(), getattr(in_pytorch("lecture"), name)()
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", NAMES)
def test_first_twenty_losses_equal_pytorchs(
    name: str, images: tuple[np.ndarray, np.ndarray]
) -> None:
    ours, theirs = copied(name)
    our_sgd = torch.optim.SGD(ours.parameters(), lr=0.01, momentum=0.5)
    their_sgd = real_torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.5)
    our_losses, their_losses = [], []
    for x, y in zip(*images, strict=True):
        our_sgd.zero_grad()
        loss = F.nll_loss(ours(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        our_sgd.step()
        our_losses.append(loss.item())

        their_sgd.zero_grad()
        their_loss = real_torch.nn.functional.nll_loss(
            theirs(real_torch.from_numpy(x)), real_torch.from_numpy(y)
        )
        their_loss.backward()
        their_sgd.step()
        their_losses.append(their_loss.item())
    np.testing.assert_allclose(our_losses, their_losses, rtol=0, atol=1e-4)


def test_feature_counts_of_the_slides() -> None:
    assert lecture.CNN().fc.in_features == 320
    assert lecture.InceptionNet().fc.in_features == 1408
    module = lecture.InceptionA(10)
    assert module(torch.zeros(2, 10, 12, 12)).shape == (2, 88, 12, 12)


def test_the_slides_size_mismatch_names_layer_shapes_and_fix() -> None:
    net = lecture.CNN()
    net.fc = torch.nn.Linear(100, 10)
    with pytest.raises(RuntimeError) as error:
        net(torch.zeros(64, 1, 28, 28))
    message = str(error.value)
    for part in ("[64 x 320]", "[100 x 10]", "Linear(320, 10)", "fc"):
        assert part in message


def test_max_pool_of_the_slide() -> None:
    x = torch.tensor([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    assert F.max_pool2d(x[None, None], 2, 2)[0, 0].tolist() == [[6, 8], [3, 4]]


def test_average_pool_of_the_slide() -> None:
    x = torch.tensor(
        [[3.0, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    )
    y = F.avg_pool2d(x[None, None], 3, stride=1)[0, 0]
    assert np.round(y.numpy(), 1).tolist() == np.float32(
        [[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]]
    ).tolist()
