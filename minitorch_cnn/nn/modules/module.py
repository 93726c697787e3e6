"""Module: the base class of every layer and network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from ...device import device as Device
from ...dtypes import as_dtype, bfloat16, dtype, float16, float32, float64
from ...tensor import RemovableHandle, Tensor, no_grad
from ..parameter import is_lazy
from .hooks import call_with_hooks
from .state import State

Self = TypeVar("Self", bound="Module")


def _forward_unimplemented(self: Module, *args: Any, **kwargs: Any) -> NoReturn:
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(State):
    """Parameters, buffers and submodules under attribute names, and a ``forward`` to run them.

    A subclass calls ``super().__init__()`` first, assigns layers to attributes and defines
    ``forward``. An error raised in a layer is given one more line that names the layer.
    """

    forward: Callable[..., Any] = _forward_unimplemented

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
            ):
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _name_layer(self, error)
            raise

    # Modes

    def train(self: Self, mode: bool = True) -> Self:
        """Switch training behaviour (dropout, batch statistics) on or off, here and below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of every parameter, or fill them with 0."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.detach_()
                    parameter.grad.array[...] = 0

    def apply(self: Self, fn: Callable[[Any], Any]) -> Self:
        """Call ``fn(module)`` for every module, children first: to initialise, for instance."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Conversion

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the content of every parameter, its gradient and every buffer by ``fn`` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    parameter.array = fn(Tensor._wrap(parameter.array)).array
                    if parameter.grad is not None:
                        parameter.grad.array = fn(Tensor._wrap(parameter.grad.array)).array
            for name, buffer in self._buffers.items():
                if is_lazy(buffer):
                    buffer.array = fn(Tensor._wrap(buffer.array)).array  # type: ignore[union-attr]
                elif buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)``, in place.

        Floating parameters and buffers take the dtype, all of them the device; the Parameter
        objects stay the same, so an optimizer made before remains valid.
        """
        where, what = _parse_to(*args, **kwargs)
        if what is not None and not what.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired"
                f" dtype={what}"
            )

        def convert(t: Tensor) -> Tensor:
            if where is not None and where != t.device:
                t = t.to(where)
            return _cast(t, what)

        return self._apply(convert)

    def type(self: Self, dst_type: Any) -> Self:
        """Cast every parameter and buffer, also the integer ones."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: Self) -> Self:
        """Floating parameters and buffers to float32."""
        return self._apply(lambda t: _cast(t, float32))

    def double(self: Self) -> Self:
        """Floating parameters and buffers to float64."""
        return self._apply(lambda t: _cast(t, float64))

    def half(self: Self) -> Self:
        """Floating parameters and buffers to float16."""
        return self._apply(lambda t: _cast(t, float16))

    def bfloat16(self: Self) -> Self:
        """Floating parameters and buffers to bfloat16."""
        return self._apply(lambda t: _cast(t, bfloat16))

    def cpu(self: Self) -> Self:
        """Everything to main memory."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Everything to a GPU."""
        return self.to(Device("cuda", device) if isinstance(device, int) else device or "cuda")

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Move without keeping the values."""
        return self._apply(lambda t: t.to(device), recurse)

    def share_memory(self: Self) -> Self:
        """Nothing to do: threads share memory anyway. For scripts written for processes."""
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """There is no graph compiler here."""
        raise NotImplementedError(
            "compile: minitorch_cnn has no graph compiler; leave the call out, the kernels are"
            " compiled already"
        )

    # Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """``hook(module, args)`` before forward; it may return other arguments."""
        return self._register(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """``hook(module, args, output)`` after forward; it may return another output.

        ``always_call`` runs it also when forward raised.
        """
        handle = self._register(self._forward_hooks, hook, prepend, with_kwargs)
        if always_call:
            self._hooks_always_called.add(handle.id)
        return handle

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """``hook(module, grad_output)`` when dL/d(output) is known; it may return another."""
        return self._register(self._backward_pre_hooks, hook, prepend, False)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` after backward; may return another grad_input.

        Positional tensor arguments only; keyword arguments are not seen.
        """
        return self._register(self._backward_hooks, hook, prepend, False)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The old name; here it is :meth:`register_full_backward_hook`."""
        return self.register_full_backward_hook(hook)

    def _register(
        self,
        hooks: OrderedDict[int, Callable[..., Any]],
        hook: Callable[..., Any],
        prepend: bool,
        with_kwargs: bool,
    ) -> RemovableHandle:
        handle = RemovableHandle(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        if with_kwargs:
            self._hooks_with_kwargs.add(handle.id)
        return handle

    def _has_backward_hooks(self) -> bool:
        return bool(self._backward_hooks or self._backward_pre_hooks)

    def _has_hooks(self) -> bool:
        return bool(self._forward_hooks or self._forward_pre_hooks or self._has_backward_hooks())

    # Printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of ``repr``: override it in a layer."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        below = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if len(own) <= 1 and not below:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(own + below) + "\n)"


def indented(text: str) -> str:
    """``text`` with every line but the first moved right by two."""
    return text.replace("\n", "\n  ")


def _cast(t: Tensor, what: dtype | None) -> Tensor:
    if what is None or not t.dtype.is_floating_point or t.dtype is what:
        return t
    return Tensor._wrap(t.array.astype(what.numpy))


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Device | None, dtype | None]:
    where, what = kwargs.pop("device", None), kwargs.pop("dtype", None)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    if "tensor" in kwargs:
        args = (kwargs.pop("tensor"), *args)
    if kwargs:
        raise TypeError(f"to() received an invalid combination of arguments: {sorted(kwargs)}")
    for arg in args:
        if isinstance(arg, Tensor):
            where, what = arg.device, arg.dtype
        elif isinstance(arg, dtype) or arg is float:
            what = arg
        elif arg is not None and not isinstance(arg, bool):  # bool: non_blocking
            where = arg
    return None if where is None else Device(where), None if what is None else as_dtype(what)


def _name_layer(module: Module, error: Exception) -> None:
    """Add one line to the message of an error on its way up: the path of the layer it came from.

    Every module that the error passes knows a longer path than the one below it.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str) or str(error) != error.args[0]:
        return
    layer, message = getattr(error, "_raised_in", (module, error.args[0]))
    error._raised_in = (layer, message)  # type: ignore[attr-defined]
    path = next((path for path, m in module.named_modules() if m is layer), "")
    name = type(layer).__name__
    text = name if layer._modules else repr(layer).replace("\n", " ")
    where = f"'{path}' ({text})" if path else text
    if path or layer is module:
        error.args = (f"{message}\nin layer {where}",)
