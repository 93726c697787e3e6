"""A pickle reader that can only build plain containers and tensors.

A pickle is a program for a small stack machine. Python's own machine can call anything that can be
imported; this one knows the few opcodes that state dicts are made of, and its "call" looks a name
up in a table of a dozen builders. A name that is not in the table is refused; nothing is imported.
``pickletools.genops`` (standard library) splits the bytes into opcodes and checks their lengths.
"""

from __future__ import annotations

import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from .errors import STATE_DICT_HINT, CheckpointError

Build = Callable[..., Any]


@dataclass(frozen=True)
class Name:
    """A global that the pickle mentions: inert until a REDUCE finds its builder in the table."""

    path: str


_MARK = object()

# Opcodes that push their decoded argument, or a constant, and nothing else.
_PUSH_ARGUMENT = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_SCALARS = (str, int, float, bytes, type(None))  # bool is an int


def read_pickle(
    file: IO[bytes],
    builders: dict[str, Build],
    constants: dict[str, Any],
    load_storage: Callable[[tuple[Any, ...]], Any],
    encoding: str = "utf-8",
) -> Any:
    """The object that the pickle at the file's position describes.

    ``builders`` maps global names to functions that a pickle may call, ``constants`` to values that
    it may mention; ``load_storage`` answers persistent ids; ``encoding`` is that of Python 2's byte
    strings. Raises CheckpointError for a name or opcode outside these, and other exceptions
    (ValueError, IndexError, ...) for a damaged pickle. Time and memory are linear in its length.
    """
    machine = _Machine(builders, constants, load_storage, encoding)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "STOP":
            return machine.result()
        machine.step(opcode.name, argument)
    raise ValueError("the pickle has no end")


class _Machine:
    """The stack, the memo, and one method for each opcode that does more than push."""

    def __init__(
        self,
        builders: dict[str, Build],
        constants: dict[str, Any],
        load_storage: Callable[[tuple[Any, ...]], Any],
        encoding: str,
    ) -> None:
        self.builders = builders
        self.constants = constants
        self.load_storage = load_storage
        self.encoding = encoding
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif name in _PUSH_NEW:
            self.stack.append(_PUSH_NEW[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in _OPCODES:
            _OPCODES[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise CheckpointError(
                f"its pickle uses the opcode {name}, which files of tensors do not need:"
                f" {STATE_DICT_HINT}"
            )

    def result(self) -> Any:
        """The one object that is left on the stack at the end."""
        if len(self.stack) != 1:
            raise ValueError(f"the pickle ends with {len(self.stack)} objects on its stack")
        return self.stack[0]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _tuple(self, n: int) -> None:
        if len(self.stack) < n:
            raise ValueError("the pickle's stack is too short")
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def byte_string(self, argument: str) -> None:
        """Python 2's str: genops decodes it as Latin-1, which loses nothing; decode as asked."""
        try:
            text = argument.encode("latin-1").decode(self.encoding)
        except UnicodeDecodeError:
            text = argument
        self.stack.append(text)

    def marked_tuple(self, _: None) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def append(self, _: None) -> None:
        item = self.stack.pop()
        _only(self.stack[-1], list).append(item)

    def appends(self, _: None) -> None:
        items = self._pop_to_mark()
        _only(self.stack[-1], list).extend(items)

    def add_items(self, _: None) -> None:
        items = self._pop_to_mark()
        _only(self.stack[-1], set).update(map(_key, items))

    def set_item(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _only(self.stack[-1], dict)[_key(key)] = value

    def set_items(self, _: None) -> None:
        items = self._pop_to_mark()
        if len(items) % 2:
            raise ValueError("the pickle has a key without a value")
        pairs = zip(items[::2], items[1::2], strict=True)
        _only(self.stack[-1], dict).update((_key(k), v) for k, v in pairs)

    def name(self, argument: str) -> None:
        """GLOBAL: "module name". A constant's value, or an inert Name; anything else is refused."""
        path = argument.replace(" ", ".").replace("__builtin__.", "builtins.")
        if path in self.constants:
            self.stack.append(self.constants[path])
        elif path in self.builders:
            self.stack.append(Name(path))
        else:
            raise CheckpointError(
                f"it refers to {path}, which is not among the names that a file of tensors needs"
                f" and is not loaded, for safety: {STATE_DICT_HINT}"
            )

    def stack_name(self, _: None) -> None:
        name, module = _only(self.stack.pop(), str), _only(self.stack.pop(), str)
        self.name(f"{module} {name}")

    def persistent_id(self, _: None) -> None:
        self.stack.append(self.load_storage(_only(self.stack.pop(), tuple)))

    def call(self, _: None) -> None:
        """REDUCE and NEWOBJ: call a builder. The only place where a pickle makes things happen."""
        arguments, callee = _only(self.stack.pop(), tuple), _only(self.stack.pop(), Name)
        self.stack.append(self.builders[callee.path](*arguments))

    def set_state(self, _: None) -> None:
        """BUILD, for the two things that state dicts need it for.

        ``OrderedDict._metadata`` (versions of the layers) and, in files of 2017, the tuple
        (requires_grad, volatile, hooks) of a Parameter.
        """
        state = self.stack.pop()
        instance = self.stack[-1]
        if isinstance(instance, OrderedDict) and isinstance(state, dict):
            if "_metadata" in state:
                vars(instance)["_metadata"] = _only(state["_metadata"], dict)
        elif hasattr(instance, "requires_grad_") and isinstance(state, tuple) and state:
            instance.requires_grad_(bool(_only(state[0], int)))
        else:
            raise CheckpointError(
                f"its pickle sets the state of a {type(instance).__name__}, which is not loaded,"
                f" for safety: {STATE_DICT_HINT}"
            )


_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "MEMOIZE": _Machine.memoize,
    "BINSTRING": _Machine.byte_string,
    "SHORT_BINSTRING": _Machine.byte_string,
    "TUPLE": _Machine.marked_tuple,
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.add_items,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BINPERSID": _Machine.persistent_id,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.set_state,
}


def _only(value: Any, *kinds: type) -> Any:
    """The value, if it is of a kind that the opcode or builder works on."""
    if not isinstance(value, kinds):
        raise ValueError(f"the pickle treats a {type(value).__name__} as a {kinds[0].__name__}")
    return value


def _key(value: Any) -> Any:
    """A dictionary key: a scalar or a flat tuple of them (hashing a deep one would recurse)."""
    flat = isinstance(value, tuple) and all(isinstance(item, _SCALARS) for item in value)
    if not flat and not isinstance(value, _SCALARS):
        raise ValueError(f"the pickle uses a {type(value).__name__} as a key")
    return value


def ordered_dict(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """``collections.OrderedDict`` as pickles call it: with nothing, or with a list of pairs."""
    items = [_only(pair, list, tuple) for pair in _only(pairs, list, tuple)]
    return OrderedDict((_key(k), v) for k, v in items)


def counter(counts: Any = ()) -> Counter[Any]:
    """``collections.Counter``, which MultiStepLR keeps its milestones in."""
    return Counter({_key(k): _only(v, int) for k, v in _only(counts or {}, dict).items()})


def a_set(items: Any = ()) -> set[Any]:
    """``set`` as protocol 2 writes it: called with a list."""
    return set(map(_key, _only(items, list, tuple)))


def latin1_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode``, as which protocol 2 writes bytes; in that one encoding only."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"unexpected encoding {encoding!r}")
    return str(_only(text, str)).encode("latin-1")


CONTAINERS: dict[str, Build] = {
    "collections.OrderedDict": ordered_dict,
    "collections.Counter": counter,
    "builtins.set": a_set,
    "_codecs.encode": latin1_bytes,
}
