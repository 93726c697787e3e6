"""``resnet50(weights=...)``: from a file, an address or a published name to a loaded network."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from .. import nn
from ..nn import init
from ..serialization import CheckpointError, load
from ..tensor import Tensor

M = TypeVar("M", bound=nn.Module)
StateDict = dict[str, Tensor]

# Where checkpoints keep the weights: PyTorch's examples, this package's `train`, Lightning, timm.
_NESTED = ("state_dict", "model", "model_state_dict", "net", "state_dict_ema")
# What DataParallel and torch.compile put in front of every name.
_WRAPPERS = ("module.", "_orig_mod.")


class WrongOptionError(ValueError):
    """The network was built with another ``option`` than the weights, whose ``value`` it tells."""

    def __init__(self, message: str, option: str, value: int) -> None:
        super().__init__(message)
        self.option = option
        self.value = value


@dataclass(frozen=True, eq=False)
class Weights:
    """A weight file at an address.

    ``sha256`` is the file's, or at least the first 8 of its 64 hexadecimal digits; with None, any
    file that arrives whole is taken. ``transforms()`` makes the preparation of the images;
    ``meta`` tells about the weights, "categories" being the class names.
    """

    url: str
    sha256: str | None = None
    transforms: Callable[..., Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not str(self.url).startswith(("https://", "http://")):
            raise ValueError(f"weights: {self.url!r} is not an address (https://...)")
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", self.sha256):
            raise ValueError(
                f"weights: sha256 is 64 hexadecimal digits or the first 8 or more of them, not"
                f" {self.sha256!r}"
            )

    def path(self) -> Path:
        """The file in the cache folder, downloaded if it is not there.

        Errors: RuntimeError telling what the server answered and where to put the file by hand.
        """
        import hashlib

        from ..datasets._download import Checksum, RemoteFile, fetch

        name = unquote(Path(urlsplit(self.url).path).name).replace("/", "_") or "weights"
        if self.sha256 is None:  # nothing else would tell two servers' "model.pth" apart
            name = f"{hashlib.sha256(self.url.encode()).hexdigest()[:8]}-{name}"
        checksum = Checksum("sha256", (self.sha256 or "").lower())
        return fetch(RemoteFile(name, (self.url,), checksum), cache_directory())

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> StateDict:
        """The tensors by name. The arguments are torchvision's and change nothing."""
        return read_state_dict(self.path())


class WeightsEnum(Enum):
    """Published weights of one architecture; each member's value is its :class:`Weights`."""

    @property
    def url(self) -> str:
        return str(self.value.url)

    @property
    def meta(self) -> dict[str, Any]:
        """What is known about the weights: "categories", "num_params", "min_size", "_metrics"."""
        meta: dict[str, Any] = self.value.meta
        return meta

    @property
    def transforms(self) -> Callable[..., Any]:
        """``transforms()`` makes the preparation of images that goes with the weights."""
        make: Callable[..., Any] = self.value.transforms
        return make

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> StateDict:
        """The tensors by name, downloaded to the cache folder the first time."""
        state: StateDict = self.value.get_state_dict()
        return state

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def cache_directory() -> Path:
    """Where downloaded weights are kept.

    ``weights`` in ``MINITORCH_CNN_CACHE_DIR``, or else in the user's cache directory.
    """
    chosen = os.environ.get("MINITORCH_CNN_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute() / "weights"
    from platformdirs import user_cache_path

    return user_cache_path("minitorch_cnn", appauthor=False) / "weights"


def read_state_dict(path: str | os.PathLike[str]) -> StateDict:
    """The tensors by name of any weight file: .pth, .pt, .safetensors, .npz.

    Training checkpoints are looked into ("state_dict", "model", ...), and the "module." that
    DataParallel puts in front of every name is taken off. Errors: CheckpointError, also where the
    file is readable and holds something else; OSError.
    """
    loaded = load(path)
    state = _inner(loaded)
    if state is None:
        what = type(loaded).__name__
        if isinstance(loaded, Mapping):
            what += f" of {', '.join(map(repr, list(loaded)[:5])) or 'nothing'}"
        raise CheckpointError(f"{os.fspath(path)} holds no weights by name but a {what}")
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _inner(loaded: Any) -> StateDict | None:
    """The mapping of names to tensors in a loaded object, or None."""
    if not isinstance(loaded, Mapping) or not loaded:
        return None
    for key in _NESTED:
        found = _inner(loaded.get(key))
        if found is not None:
            return found
    fits = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())
    return dict(loaded) if fits else None


def resolve(name: str, weights: Any) -> Weights | Path:
    """What ``weights=`` of the architecture ``name`` means: an address or a file.

    Errors: TypeError for weights of another architecture and for what is no name, address or file;
    ValueError for an unknown name; FileNotFoundError.
    """
    from .published import PUBLISHED

    entries = PUBLISHED.get(name)
    if isinstance(weights, WeightsEnum):
        if not isinstance(weights, entries or ()):
            expected = entries.__name__ if entries else "no published weights: there are none"
            raise TypeError(
                f"{name}: Invalid Weight class provided; expected {expected} but received"
                f" {type(weights).__name__}."
            )
        return resolve(name, weights.value)
    if isinstance(weights, Weights):
        return weights
    if isinstance(weights, tuple) and len(weights) == 2:
        return Weights(*weights)
    if isinstance(weights, str):
        if weights.startswith(("https://", "http://")):
            return Weights(weights)
        label = weights.removeprefix(f"{entries.__name__}.") if entries else weights
        if entries and label in entries.__members__:
            return resolve(name, entries[label])
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(
            f"{name}: weights is a file, an address, (address, sha256) or the name of published"
            f" weights, not a {type(weights).__name__}"
        )
    path = Path(weights)
    if path.exists():
        return path
    names = ", ".join(entries.__members__) if entries else "none"
    text = f"{name}: there is no weight file {str(path)!r}; published weights by name: {names}"
    if re.fullmatch(r"(\w+\.)?[A-Z0-9_]+", str(path)):  # it looks like a name
        raise ValueError(text)
    raise FileNotFoundError(text)


def initialize(
    name: str, function: Callable[..., M], weights: Any, options: Mapping[str, Any]
) -> M:
    """``function(**options)`` with ``weights`` loaded into it; every name and shape must fit.

    ``function`` may carry what an architecture with a past needs: ``rename_keys(state_dict)``
    gives today's names; ``prepare_weights(options)`` the options to build with, and
    ``finish_weights(model, options)`` what to do after loading (torchvision's GoogLeNet file has
    auxiliary heads that are then dropped). A file that was saved after that is loaded after it.
    Errors: ValueError (WrongOptionError) for another number of classes or input channels than the
    file's, RuntimeError with a table for any other misfit; those of :func:`read_state_dict`.
    """
    source = resolve(name, weights)
    options = dict(options)
    if isinstance(source, Weights) and source.meta.get("categories"):
        _check_classes(name, len(source.meta["categories"]), options)
    path = source.path() if isinstance(source, Weights) else source
    state = read_state_dict(path)
    rename = getattr(function, "rename_keys", None)
    if rename is not None:
        state = rename(state)

    prepare = getattr(function, "prepare_weights", None)
    finish = getattr(function, "finish_weights", None)
    with init.unfilled():
        model = function(**(options if prepare is None else prepare(options)))
    early = not _same_names(model, state)
    if finish is not None and early:
        model = finish(model, options) or model
    _load(name, model, state, path)
    if finish is not None and not early:
        model = finish(model, options) or model
    return model


def _check_classes(name: str, in_file: int, options: Mapping[str, Any]) -> None:
    """WrongOptionError, in torchvision's words, for options with another number of classes."""
    wanted = options.get("num_classes", in_file)
    if wanted != in_file:
        raise WrongOptionError(
            f"{name}: The parameter 'num_classes' expected value {in_file} but got {wanted}"
            f" instead. {_NEW_HEAD}",
            "num_classes",
            in_file,
        )


_NEW_HEAD = (
    "To train for other classes, load the weights as they are and put a new last layer in place:"
    " model.fc = nn.Linear(model.fc.in_features, num_classes), under the layer's own name"
)


def _same_names(model: nn.Module, state: Mapping[str, Any]) -> bool:
    """Whether the names are those of the model; files of before 2018 lack the batch counters."""
    counter = "num_batches_tracked"
    names = {key for key in model.state_dict() if not key.endswith(counter)}
    return names == {key for key in state if not key.endswith(counter)}


def _load(name: str, model: nn.Module, state: StateDict, path: Path) -> None:
    """Load strictly; an error says which option or which architecture would fit."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        if _same_names(model, state):
            _explain_shapes(name, model, state, path)
        text = str(error)
        likely = closest_architecture(state)
        if likely not in (None, name):
            text += f"\nThese look like the weights of {likely}."
        raise RuntimeError(f"cannot load {path} into {name}: {text}") from None


def _explain_shapes(name: str, model: nn.Module, state: StateDict, path: Path) -> None:
    """WrongOptionError if the two differ in their number of classes or of input channels alone."""
    ours = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    wrong = [
        (key, tuple(tensor.shape), ours[key])
        for key, tensor in state.items()
        if key in ours and tuple(tensor.shape) != ours[key]
    ]
    for axis, option in ((0, "num_classes"), (1, "in_channels")):
        pairs = {(theirs[axis : axis + 1], mine[axis : axis + 1]) for _, theirs, mine in wrong}
        rest = all(
            theirs[:axis] + theirs[axis + 1 :] == mine[:axis] + mine[axis + 1 :]
            for _, theirs, mine in wrong
        )
        if rest and len(pairs) == 1:
            ((theirs, mine),) = pairs
            key, in_file, in_network = wrong[0]
            advice = f" {_NEW_HEAD}" if option == "num_classes" else ""
            raise WrongOptionError(
                f"{name}: {path} has {option}={theirs[0]} and the network was built with {mine[0]}"
                f" ({key} is {list(in_file)} in the file, {list(in_network)} in the network):"
                f" write {name}(weights=..., {option}={theirs[0]}).{advice}",
                option,
                theirs[0],
            )


@functools.cache
def _shapes(builder: Callable[..., nn.Module]) -> frozenset[tuple[str, tuple[int, ...]]]:
    """The names and shapes of a network's state."""
    with init.unfilled():
        state = builder().state_dict()
    return frozenset((key, tuple(value.shape)) for key, value in state.items())


def closest_architecture(state: Mapping[str, Any]) -> str | None:
    """The architecture, built with its defaults, that shares most names and shapes with ``state``.

    None if none shares four fifths. Cost: each is built once, its weights unfilled.
    """
    from .registry import ARCHITECTURES

    wanted = {(key, tuple(value.shape)) for key, value in state.items()}
    best, best_score = None, 0.8
    for name, entry in ARCHITECTURES.items():
        shapes = _shapes(entry.builder)
        score = len(wanted & shapes) / max(len(wanted), len(shapes))
        if score > best_score:
            best, best_score = name, score
    return best
