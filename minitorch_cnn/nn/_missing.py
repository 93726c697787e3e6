"""What to say to someone who asks for a part of PyTorch that is not here."""

from __future__ import annotations

_FEATURES = (
    (("rnn", "lstm", "gru"), "recurrent networks are"),
    (("transformer", "attention", "grouped_mm", "scaled_mm"), "attention and transformers are"),
    (("3d",), "convolutions over volumes (3 spatial dimensions) are"),
    (("quantiz", "qat", "intrinsic"), "quantisation is"),
    (("ctc",), "the CTC loss for sequences is"),
    (("sparse", "bag"), "sparse tensors are"),
    (("sync", "distributed"), "training on several machines is"),
    (("grid", "affine_grid"), "spatial transformers are"),
    (("fractional",), "fractional pooling is"),
    (("spectral", "weight_norm", "parametriz", "prune"), "reparametrised weights are"),
)


def missing(module: str, name: str) -> AttributeError:
    """The AttributeError for ``module.name``; it names the feature that is not part of this."""
    text = f"module {module!r} has no attribute {name!r}"
    if not name.startswith("__"):
        for words, feature in _FEATURES:
            if any(word in name.lower() for word in words):
                return AttributeError(f"{text}: {feature} not part of minitorch_cnn")
        text += ": minitorch_cnn has what plain convolutional networks need"
    return AttributeError(text)
