"""Record what torchvision's and timm's own models compute, for ``test_architectures.py``.

    python -m tests.models.record [NAME ...]

Run by hand, with torchvision and timm installed beside PyTorch. The weights are those of
``common.values``: a function of a parameter's name and shape alone, so nothing large is stored.
Each network runs in float64 on small images: in eval mode, and forward and backward in train mode
(with dropout off), once with ordinary weights and once with gentle ones (see ``common.values``).
Recorded are the outputs, and of every parameter's gradient the norm and the projection on a fixed
random direction.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import timm
import torch
import torchvision

from . import common

# Small enough to be quick, large enough that no map is empty. An auxiliary head needs its size.
SIZES = {"inception_v3_aux_logits-True": 299, "inception_v3_aux_logits-False": 139,
         "timm_inception_v4": 139, "alexnet": 95, "googlenet_aux_logits-True": 96}  # fmt: skip
# A head whose map is 1x1 takes its batch statistics over the batch alone.
BATCHES = {"inception_v3_aux_logits-True": 4, "timm_inception_v4": 2}
DIGITS = 12
# Means of the biases: see common.values.
SHIFTS = (0.8, 2.0, 0.0)


def build(key: str) -> Any:
    name, options = common.builder_and_options(key)
    if key.startswith("timm_"):
        return timm.create_model(name, **options)
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = False
    return getattr(torchvision.models, name)(**options)


def record(key: str) -> dict[str, Any]:
    """The numbers for the first images and biases on which PyTorch's float32 agrees with float64.

    Where two values under a max pooling differ by less than float32's rounding, the gradient of
    the one or the other is right, and nothing could be compared.
    """
    for seed, shift in itertools.product(range(8), SHIFTS):
        x = torch.from_numpy(common.images(shape_of(key), seed))
        model = prepared(key)
        gentle = train(model, x, shift)
        single = train(prepared(key).float(), x.float(), shift)
        off = worst(single["gradients"], gentle["gradients"])
        if off < 4e-5:
            break
    else:
        raise SystemExit(f"{key}: no images without near ties found (off by {off:.1e})")
    ordinary = train(model, x, 0.0)
    fill(model, 0.0)
    with torch.no_grad():
        y = model.eval()(x)
    print(f"{key}: seed {seed}, shift {shift}, float32 is off by {off:.1e}", flush=True)
    return {
        "input": list(x.shape),
        "seed": seed,
        "shift": shift,
        "eval": [[_short(v) for v in row[:8]] for row in y],
        "eval_norm": _short(y.norm()),
        "train": ordinary,
        "gentle": gentle,
    }


def shape_of(key: str) -> tuple[int, ...]:
    size = SIZES.get(key, 64)
    return BATCHES.get(key, 3), 3, size, size


def prepared(key: str) -> Any:
    model = build(key).double()
    list(common.without_dropout(model))
    return model


def worst(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> float:
    """The largest error of a projection, relative to the gradient's norm."""
    floor = common.floor(theirs)
    return max(abs(ours[n][1] - along) / max(norm, floor) for n, (norm, along) in theirs.items())


def fill(model: Any, shift: float) -> None:
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(common.values(name, tensor.shape, shift)))


def train(model: Any, x: Any, shift: float) -> dict[str, Any]:
    """Forward and backward in train mode: [norm, projection] of each parameter's gradient."""
    fill(model, shift)
    model.train().zero_grad()
    loss = sum(
        (t * torch.from_numpy(common.probe(f"output {i}", t.shape)).to(x.dtype)).sum()
        for i, t in enumerate(common.outputs_of(model(x)))
    )
    loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        g = parameter.grad.double()
        along = (g * torch.from_numpy(common.probe(name, g.shape))).sum()
        gradients[name] = [_short(g.norm()), _short(along)]
    statistics = {
        name: _short((b.double() * torch.from_numpy(common.probe(name, b.shape))).sum())
        for name, b in model.named_buffers()
        if b.dim()
    }
    return {"loss": _short(loss), "gradients": gradients, "statistics": statistics}


def _short(value: Any) -> float:
    value = value.detach() if isinstance(value, torch.Tensor) else value
    return float(f"{float(value):.{DIGITS}g}")


def main() -> None:
    for key in sys.argv[1:] or common.facts("state_dicts"):
        table = record(key)
        table["about"] = f"torchvision {torchvision.__version__}, timm {timm.__version__}, float64"
        lines = ",\n".join(
            f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in table.items()
        )
        path = common.HERE / "recorded" / f"{key}.json"
        path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
