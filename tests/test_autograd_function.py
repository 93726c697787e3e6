"""autograd.Function and gradcheck: scenarios that end as in PyTorch, and what is ours."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as mt
from minitorch_cnn.autograd import Function, gradcheck
from minitorch_cnn.autograd.function import once_differentiable
from minitorch_cnn.tensor import Tensor

from .scenarios import Scenario, assert_ends_alike, leaf

SCENARIOS: list[Scenario] = []


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS.append(fn)
    return fn


def define(t: Any, forward: Any, backward: Any = None, **more: Any) -> Any:
    """A Function of the library ``t``."""
    methods = {"forward": staticmethod(forward), **more}
    if backward is not None:
        methods["backward"] = staticmethod(backward)
    return type("Mine", (t.autograd.Function,), methods)


def square(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    def backward(ctx: Any, gy: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * gy

    return define(t, forward, backward)


@scenario
def one_input_one_output(t: Any) -> Any:
    x = leaf(t)
    y = square(t).apply(x * 2)
    y.sum().backward()
    return y, x.grad, y.requires_grad, y.is_leaf


@scenario
def saves_an_output(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    x = leaf(t)
    define(t, forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x).sum().backward()
    return x.grad


@scenario
def several_inputs_and_outputs(t: Any) -> Any:
    def forward(ctx: Any, a: Any, b: Any, factor: float) -> Any:
        ctx.save_for_backward(a, b)
        ctx.factor = factor
        return a * b * factor, a + b

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        a, b = ctx.saved_tensors
        return g * b * ctx.factor + h, g * a * ctx.factor + h, None

    a, b = leaf(t), leaf(t, 4.0, 5.0, 6.0)
    y, z = define(t, forward, backward).apply(a, b, 3.0)
    (y * y + z).sum().backward()
    return y, z, a.grad, b.grad


@scenario
def one_output_of_two_is_used(t: Any) -> Any:
    seen = []

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        seen.extend([g, h])
        return g * 2 + h * 3

    x = leaf(t)
    define(t, lambda ctx, x: (x * 2, x * 3), backward).apply(x)[1].sum().backward()
    return x.grad, seen


@scenario
def unused_outputs_may_come_as_none(t: Any) -> Any:
    seen = []

    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        seen.append(h is None)
        return g * 2

    x = leaf(t)
    define(t, forward, backward).apply(x)[0].sum().backward()
    return x.grad, seen


@scenario
def an_output_used_twice_arrives_once(t: Any) -> Any:
    calls = []

    def backward(ctx: Any, g: Any) -> Any:
        calls.append(g.clone())
        return g * 2

    x = leaf(t)
    y = define(t, lambda ctx, x: x * 2, backward).apply(x)
    (y * y + y).sum().backward()
    return x.grad, calls


@scenario
def outputs_that_are_not_tensors(t: Any) -> Any:
    x = leaf(t)
    result = define(t, lambda ctx, x: ("a", x * 2, 5), lambda ctx, a, g, b: g * 2).apply(x)
    result[1].sum().backward()
    return result, x.grad


@scenario
def integer_outputs_and_marked_ones(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        rounded = x.floor()
        ctx.mark_non_differentiable(rounded)
        return x * 2, rounded, x.argmax()

    x = leaf(t)
    y, rounded, i = define(t, forward, lambda ctx, g, h, k: g * 2 + h.sum()).apply(x)
    y.sum().backward()
    return x.grad, y.requires_grad, rounded.requires_grad, i.requires_grad


@scenario
def needs_input_grad(t: Any) -> Any:
    seen = []

    def forward(ctx: Any, a: Any, b: Any, c: Any) -> Any:
        return a * b

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(ctx.needs_input_grad)
        return g * 2, g * 3, None

    x = leaf(t)
    define(t, forward, backward).apply(x, t.ones(3, dtype=t.float64), "c").sum().backward()
    return seen, x.grad


@scenario
def none_means_no_gradient(t: Any) -> Any:
    a, b = leaf(t), leaf(t)
    define(t, lambda ctx, a, b: a * b, lambda ctx, g: (None, g)).apply(a, b * 2).sum().backward()
    return a.grad, b.grad


@scenario
def more_nones_than_inputs(t: Any) -> Any:
    x = leaf(t)
    define(t, lambda ctx, x: x * 2, lambda ctx, g: (g, None, None)).apply(x).sum().backward()
    return x.grad


@scenario
def a_gradient_is_summed_to_its_shape(t: Any) -> Any:
    x, row = t.ones(2, 3, requires_grad=True), t.ones(1, 3, requires_grad=True)
    define(t, lambda ctx, a, b: a * b, lambda ctx, g: (g, g)).apply(x, row).sum().backward()
    return x.grad, row.grad


@scenario
def a_gradient_is_cast_to_its_dtype(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    define(t, lambda ctx, x: x * 2, lambda ctx, g: g.double()).apply(x).sum().backward()
    return x.grad


@scenario
def equal_gradients_are_apart(t: Any) -> Any:
    a, b = leaf(t), leaf(t)
    define(t, lambda ctx, a, b: a + b, lambda ctx, g: (g, g)).apply(a, b).sum().backward()
    a.grad.mul_(5)
    return a.grad, b.grad


@scenario
def backward_writes_to_what_it_gets(t: Any) -> Any:
    x, z = leaf(t), leaf(t)
    y = define(t, lambda ctx, x: x * 2, lambda ctx, g: g.mul_(2)).apply(x)
    (y * z).sum().backward()
    return x.grad, z.grad


@scenario
def the_input_itself_is_returned(t: Any) -> Any:
    x = leaf(t)
    y = define(t, lambda ctx, x: x, lambda ctx, g: g * -1).apply(x)
    y.sum().backward()
    return y is x, y, x.grad


@scenario
def forward_records_nothing(t: Any) -> Any:
    seen = []

    def forward(ctx: Any, x: Any) -> Any:
        seen.append((t.is_grad_enabled(), (x * 2).requires_grad))
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        seen.append(t.is_grad_enabled())
        return g * 2

    define(t, forward, backward).apply(leaf(t)).sum().backward()
    return seen


@scenario
def without_gradients(t: Any) -> Any:
    mine = square(t)
    with t.no_grad():
        a = mine.apply(leaf(t))
    return a.requires_grad, mine.apply(t.ones(2)).requires_grad, mine.apply(t.ones(2))


@scenario
def backward_may_use_autograd_itself(t: Any) -> Any:
    """Recomputation in backward, as checkpointing does it."""

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    def backward(ctx: Any, g: Any) -> Any:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with t.enable_grad():
            y = x * x * x
        (gx,) = t.autograd.grad(y, x, g)
        return gx

    x = leaf(t)
    define(t, forward, backward).apply(x * 2).sum().backward()
    return x.grad


@scenario
def setup_context_style(t: Any) -> Any:
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.n = inputs
        ctx.save_for_backward(x, output)

    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * ctx.n * y / x, None

    mine = define(
        t, lambda x, n: x**n, backward, setup_context=staticmethod(setup_context)
    )  # fmt: skip
    x = leaf(t)
    mine.apply(x, 3).sum().backward()
    return x.grad


@scenario
def vjp_instead_of_backward(t: Any) -> Any:
    x = leaf(t)
    mine = define(t, lambda ctx, x: x * 2, vjp=staticmethod(lambda ctx, g: g * 2))
    mine.apply(x).sum().backward()
    return x.grad


@scenario
def once_differentiable_backward(t: Any) -> Any:
    decorate = (
        once_differentiable if t is mt else t.autograd.function.once_differentiable
    )  # fmt: skip
    x = leaf(t)
    define(t, lambda ctx, x: x * 2, decorate(lambda ctx, g: g * 2)).apply(x).sum().backward()
    return x.grad


@scenario
def hooks_and_retained_gradients(t: Any) -> Any:
    x = leaf(t)
    y = square(t).apply(x)
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    return y.grad, x.grad


@scenario
def retain_graph_runs_it_twice(t: Any) -> Any:
    x = leaf(t)
    y = square(t).apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@scenario
def grad_towards_some_inputs(t: Any) -> Any:
    a, b = leaf(t), leaf(t)
    mine = define(t, lambda ctx, a, b: (a * 2, b * 3), lambda ctx, g, h: (g * 2, h * 3))
    y, z = mine.apply(a, b)
    return t.autograd.grad((y + z).sum(), b), a.grad


@scenario
def dirty_input(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        x.mul_(2)
        return x

    x = leaf(t)
    y = x * 1
    z = define(t, forward, lambda ctx, g: g * 2).apply(y)
    (z * z).sum().backward()
    return z is y, y, y._version, x.grad


@scenario
def dirty_leaf(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2)

    define(t, forward, lambda ctx, g: g * 2).apply(leaf(t))


@scenario
def saved_tensor_was_written(t: Any) -> Any:
    x = leaf(t) * 2
    y = square(t).apply(x)
    x.add_(1)
    y.sum().backward()


@scenario
def second_backward(t: Any) -> Any:
    y = square(t).apply(leaf(t)).sum()
    y.backward()
    y.backward()


@scenario
def too_few_gradients(t: Any) -> Any:
    x = leaf(t)
    define(t, lambda ctx, a, b: a * b, lambda ctx, g: g).apply(x, x).sum().backward()


@scenario
def too_many_gradients(t: Any) -> Any:
    define(t, lambda ctx, x: x * 2, lambda ctx, g: (g, g)).apply(leaf(t)).sum().backward()


@scenario
def gradient_for_a_number(t: Any) -> Any:
    define(t, lambda ctx, x, n: x * n, lambda ctx, g: (g, g)).apply(leaf(t), 3).sum().backward()


@scenario
def gradient_is_no_tensor(t: Any) -> Any:
    define(t, lambda ctx, x: x * 2, lambda ctx, g: 3).apply(leaf(t)).sum().backward()


@scenario
def gradient_of_a_wrong_shape(t: Any) -> Any:
    define(t, lambda ctx, x: x * 2, lambda ctx, g: t.ones(5)).apply(leaf(t)).sum().backward()


@scenario
def no_backward(t: Any) -> Any:
    define(t, lambda ctx, x: x * 2).apply(leaf(t)).sum().backward()


@scenario
def no_forward(t: Any) -> Any:
    type("Mine", (t.autograd.Function,), {}).apply(leaf(t))


@scenario
def saving_a_number(t: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(3)
        return x * 2

    define(t, forward, lambda ctx, g: g).apply(leaf(t))


@scenario
def saving_none(t: Any) -> Any:
    seen = []

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(None, x)
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        seen.extend(ctx.saved_tensors)
        return g * 2

    define(t, forward, backward).apply(leaf(t)).sum().backward()
    return seen[0] is None, seen[1]


@scenario
def zero_dimensions(t: Any) -> Any:
    x = t.tensor(3.0, requires_grad=True)
    y, z = define(t, lambda ctx, x: (x * 2, x * 3), lambda ctx, g, h: g * 2 + h * 3).apply(x)
    (y * z + y).backward()
    return y, z, x.grad


@pytest.mark.parametrize("fn", SCENARIOS, ids=lambda fn: fn.__name__)
def test_ends_as_in_pytorch(fn: Scenario) -> None:
    assert_ends_alike(fn)


def test_old_style_functions_are_refused() -> None:
    class Old(Function):
        def forward(self, x: Any) -> Any:  # type: ignore[override]
            return x

    with pytest.raises(RuntimeError, match=r"Legacy autograd function.*apply"):
        Old()(mt.ones(2))


def test_a_backward_that_writes_to_its_gradient_changes_no_other() -> None:
    """PyTorch's documentation forbids it, and there it does change the other one."""
    x, z = leaf(mt), leaf(mt)
    w = z * 3
    y = define(mt, lambda ctx, x: x * 2, lambda ctx, g: g.mul_(2)).apply(x)
    ((w + y) * 2).sum().backward()
    np.testing.assert_array_equal(z.grad.array, 6)
    np.testing.assert_array_equal(x.grad.array, 4)


def test_the_context_and_what_it_saved_are_freed() -> None:
    """No reference cycle, although an output was saved; nothing is left after backward."""

    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.save_for_backward(x, y)
        contexts.append(weakref.ref(ctx))
        return y

    contexts: list[Any] = []
    mine = define(mt, forward, lambda ctx, g: g * ctx.saved_tensors[1])
    gc.collect()
    gc.disable()
    try:
        y = mine.apply(leaf(mt))
        del y
        assert contexts[0]() is None
        y = mine.apply(leaf(mt)).sum()
        y.backward()
        assert contexts[1]() is None
    finally:
        gc.enable()


def test_anomaly_names_the_function() -> None:
    nan = mt.tensor([float("nan")] * 3, dtype=mt.float64)
    mine = define(mt, lambda ctx, x: x * 2, lambda ctx, g: nan)
    with pytest.raises(RuntimeError, match=r"(?s)Mine.*returned nan"), mt.autograd.detect_anomaly():
        mine.apply(leaf(mt)).sum().backward()


# gradcheck


def wrong_square(factor: float) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    return define(mt, forward, lambda ctx, g: factor * ctx.saved_tensors[0] * g).apply


@pytest.mark.parametrize("fast_mode", [False, True])
def test_gradcheck_passes_right_gradients(fast_mode: bool) -> None:
    x, w = leaf(mt), mt.rand(3, 2, dtype=mt.float64, requires_grad=True)
    assert gradcheck(lambda x: x * x, x, fast_mode=fast_mode)
    assert gradcheck(wrong_square(2.0), (x,), fast_mode=fast_mode)
    assert gradcheck(lambda x, w, n: (x @ w * n, x.sum()), (x, w, 3), fast_mode=fast_mode)
    assert gradcheck(lambda x: x.view(3, 1), x, fast_mode=fast_mode)
    assert gradcheck(lambda x: x * 2, mt.ones(0).double().requires_grad_(), fast_mode=fast_mode)
    assert gradcheck(lambda x: x * x, mt.tensor(2.0).double().requires_grad_(), fast_mode=fast_mode)
    np.testing.assert_array_equal(x.detach().numpy(), [1, 2, 3])
    assert x.grad is None


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("factor", [1.99, -2.0, 0.0, float("nan")])
def test_gradcheck_catches_wrong_gradients(factor: float, fast_mode: bool) -> None:
    with pytest.raises(mt.autograd.GradcheckError, match="output 0 with respect to input 0"):
        gradcheck(wrong_square(factor), leaf(mt), fast_mode=fast_mode)
    wrong = gradcheck(wrong_square(factor), leaf(mt), raise_exception=False, fast_mode=fast_mode)
    assert wrong is False


def test_gradcheck_catches_one_wrong_entry() -> None:
    def backward(ctx: Any, g: Any) -> Any:
        g = g * 2
        g[1] = 0
        return g

    with pytest.raises(mt.autograd.GradcheckError, match="element 1 of the input"):
        gradcheck(define(mt, lambda ctx, x: x * 2, backward).apply, leaf(mt))


def test_gradcheck_catches_what_was_detached() -> None:
    with pytest.raises(mt.autograd.GradcheckError, match="mismatch"):
        gradcheck(lambda x: x.detach() * 2, leaf(mt))


def test_gradcheck_catches_a_random_backward() -> None:
    mine = define(mt, lambda ctx, x: x * 2, lambda ctx, g: g * (2 + 1e-7 * float(mt.rand(1))))
    with pytest.raises(mt.autograd.GradcheckError, match="not reentrant"):
        gradcheck(mine.apply, leaf(mt))
    assert gradcheck(mine.apply, leaf(mt), nondet_tol=1e-6)


def test_gradcheck_refuses_float32() -> None:
    """PyTorch warns, and then mostly fails for want of precision."""
    with pytest.raises(ValueError, match=r"input 0 of shape \[3\] is torch.float32.*float64"):
        gradcheck(lambda x: x * 2, mt.ones(3, requires_grad=True))
    with pytest.raises(ValueError, match="output 0"):
        gradcheck(lambda x: x.float(), leaf(mt))


def test_gradcheck_refuses_other_input() -> None:
    with pytest.raises(ValueError, match="at least one input"):
        gradcheck(lambda x: x * 2, mt.ones(3, dtype=mt.float64))
    with pytest.raises(ValueError, match="expanded"):
        gradcheck(lambda x: x * 2, mt.ones(1).double().expand(3).requires_grad_())
    with pytest.raises(ValueError, match="no floating-point Tensor"):
        gradcheck(lambda x: 3, leaf(mt))
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        gradcheck(lambda x: x * 2, Tensor._wrap(frozen, True))
    for name in ("check_batched_grad", "check_forward_ad"):
        with pytest.raises(NotImplementedError, match="forward-mode"):
            gradcheck(lambda x: x * 2, leaf(mt), **{name: True})


def test_gradcheck_tolerances() -> None:
    assert gradcheck(wrong_square(2.01), leaf(mt), rtol=0.1)
    assert not gradcheck(wrong_square(2.01), leaf(mt), rtol=0.001, raise_exception=False)
    assert gradcheck(wrong_square(2.01), leaf(mt), rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ["functional", "forward_ad", "gradgradcheck", "graph", "nothing"])
def test_missing_features_are_named(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(mt.autograd, name)
