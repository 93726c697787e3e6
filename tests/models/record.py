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

import json
import sys
from typing import Any

import timm
import torch
import torchvision

from . import common

# Small enough to be quick, large enough that no map is empty. An auxiliary head needs its size.
SIZES = {"inception_v3_aux_logits-True": 299, "inception_v3_aux_logits-False": 139,
         "timm_inception_v4": 139, "alexnet": 95,
         "googlenet_aux_logits-True": 96, "googlenet_aux_logits-False": 96}  # fmt: skip
BATCHES = {"timm_inception_v4": 2}
# With images 7, a window of its first pooling holds a tie but for float32's rounding.
SEEDS = {"squeezenet1_1": 1}
DIGITS = 12


def build(key: str) -> Any:
    name, options = common.builder_and_options(key)
    if key.startswith("timm_"):
        return timm.create_model(name, **options)
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = False
    return getattr(torchvision.models, name)(**options)


def record(key: str) -> dict[str, Any]:
    """The numbers for one architecture."""
    seed = SEEDS.get(key, 7)
    x = torch.from_numpy(common.images(shape_of(key), seed))
    model = prepared(key)
    gentle = train(model, x, True)
    single = train(prepared(key).float(), x.float(), True)
    off = common.error(single["gradients"], gentle["gradients"])
    print(f"{key}: the gradient of PyTorch's own float32 is off by {off:.1e}", flush=True)
    ordinary = train(model, x, False)
    fill(model, False)
    with torch.no_grad():
        y = model.eval()(x)
    return {
        "input": list(x.shape),
        "seed": seed,
        "eval": [[_short(v) for v in row[:8]] for row in y],
        "eval_norm": _short(y.norm()),
        "train": ordinary,
        "gentle": gentle,
        "float32_error": _short(off),
    }


def shape_of(key: str) -> tuple[int, ...]:
    size = SIZES.get(key, 64)
    return BATCHES.get(key, 3), 3, size, size


def prepared(key: str) -> Any:
    model = build(key).double()
    list(common.without_dropout(model))
    return model


def fill(model: Any, gentle: bool) -> None:
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(common.values(name, tensor.shape, gentle)))


def train(model: Any, x: Any, gentle: bool) -> dict[str, Any]:
    """Forward and backward in train mode: [norm, projection] of each parameter's gradient."""
    fill(model, gentle)
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
