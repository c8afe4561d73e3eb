"""GRU and plain RNN in training on a CPU: both directions in one product a step, and gradients by hand.

torch runs these two cells as a chain of small operators, and its backward adds to the gradient of the recurrent weight
at every step. Here the steps write into memory that is laid out before the loop, both directions are one batched
product, and that gradient is one product over all steps. (The LSTM has a fused kernel in torch.)

In the shapes below `...` is D for both directions and nothing for one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "RNN_TANH": torch.tanh,
    "RNN_RELU": lambda values, out: torch.clamp_min(values, 0, out=out),
}


def run_steps(mode: str, read: Tensor, start: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Run all steps of a GRU (Cho et al., 2014, in torch's form) or a plain RNN (Elman, 1990).

    Args:
        mode: torch's name of the cell: `"GRU"`, `"RNN_TANH"` or `"RNN_RELU"`.
        read: (..., T, B, gates * H), what the input contributes to the gates, with its bias.
        start: (..., B, H), the states before the first step.
        weight: (..., gates * H, H), the recurrent weight.
        bias: (..., gates * H), the recurrent bias.

    Returns:
        The states (..., T, B, H). They can be differentiated once.
    """
    rest = (start.to(read.dtype), weight.to(read.dtype), bias.to(read.dtype))
    if mode == "GRU":
        return _GRU.apply(read, *rest)  # type: ignore[no-any-return]
    return _RNN.apply(mode, read, *rest)  # type: ignore[no-any-return]


class _RNN(torch.autograd.Function):
    """h_t = f(x_t + W h_{t-1} + b)."""

    @staticmethod
    def forward(ctx: Any, mode: str, read: Tensor, start: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        states = torch.empty_like(read)
        transposed = weight.mT.contiguous()
        recalled = torch.empty_like(start)
        bias = bias[..., None, :].expand_as(recalled)
        hidden = start
        for read_t, state in _steps(read, states):
            _add_product(bias, hidden, transposed, out=recalled).add_(read_t)
            hidden = _ACTIVATIONS[mode](recalled, out=state)
        ctx.mode = mode
        ctx.save_for_backward(start, weight, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        start, weight, states = ctx.saved_tensors
        slope = (1 - states * states) if ctx.mode == "RNN_TANH" else (states > 0).to(states.dtype)
        grad_read = torch.empty_like(states)
        grad, carried = torch.empty_like(start), torch.zeros_like(start)
        for grad_t, slope_t, out in _steps(grad_states, slope, grad_read, backwards=True):
            torch.add(grad_t, carried, out=grad).mul_(slope_t)
            torch.matmul(grad, weight, out=carried)
            out.copy_(grad)
        grad_weight = _outer(grad_read, _before(start, states))
        return None, grad_read, carried, grad_weight, grad_read.sum(dim=(-3, -2))


class _GRU(torch.autograd.Function):
    """h_t = n + z (h_{t-1} - n), with n = tanh(x_n + r (W_n h_{t-1} + b_n)) and r, z = sigmoid(x + W h_{t-1} + b)."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, start: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = start.shape[-1]
        transposed = weight.mT.contiguous()
        recalled = torch.empty_like(read.select(-3, 0))
        recalled_gates, recalled_n = recalled.split((2 * size, size), dim=-1)
        bias = bias[..., None, :].expand_as(recalled)
        gates, news, kept, states = (read.new_empty(*read.shape[:-1], width * size) for width in (2, 1, 1, 1))
        parts = (*read.split((2 * size, size), dim=-1), gates, *gates.split(size, dim=-1), news, kept, states)
        hidden = start
        for read_gates, read_n, gate, r, z, n, keep, state in _steps(*parts):
            _add_product(bias, hidden, transposed, out=recalled)
            torch.add(read_gates, recalled_gates, out=gate).sigmoid_()
            keep.copy_(recalled_n)
            torch.addcmul(read_n, r, recalled_n, out=n).tanh_()
            hidden = torch.lerp(n, hidden, z, out=state)
        ctx.save_for_backward(start, weight, gates, news, kept, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor, ...]:
        start, weight, gates, news, kept, states = ctx.saved_tensors
        size = start.shape[-1]
        reset, update = gates.split(size, dim=-1)
        before = _before(start, states)
        # Everything that no earlier step waits for is done for all steps at once.
        slope_z = (before - news).mul_(update).mul_(1 - update)
        slope_n = (1 - update).mul_(1 - news * news)
        slope_r = kept.mul(reset).mul_(1 - reset)
        grad_recalled, grad_n = gates.new_empty(*gates.shape[:-1], 3 * size), torch.empty_like(news)
        grad, carried = torch.empty_like(start), torch.zeros_like(start)
        step = torch.empty_like(grad_recalled.select(-3, 0))
        step_r, step_z, step_n = step.split(size, dim=-1)
        parts = (grad_states, slope_z, slope_n, slope_r, reset, update, grad_n, grad_recalled)
        for grad_t, slope_zt, slope_nt, slope_rt, r, z, grad_nt, out in _steps(*parts, backwards=True):
            torch.add(grad_t, carried, out=grad)
            torch.mul(grad, slope_zt, out=step_z)
            torch.mul(grad, slope_nt, out=grad_nt)
            torch.mul(grad_nt, slope_rt, out=step_r)
            torch.mul(grad_nt, r, out=step_n)
            torch.mul(grad, z, out=carried)
            _add_product(carried, step, weight, out=carried)
            out.copy_(step)
        grad_weight, grad_bias = _outer(grad_recalled, before), grad_recalled.sum(dim=(-3, -2))
        grad_recalled[..., 2 * size :] = grad_n  # now it is the gradient of what was read
        return grad_recalled, carried, grad_weight, grad_bias


def _steps(*tensors: Tensor, backwards: bool = False) -> Iterator[tuple[Tensor, ...]]:
    """The single steps of some (..., T, B, F), side by side."""
    steps = zip(*(tensor.unbind(-3) for tensor in tensors), strict=True)
    return reversed(list(steps)) if backwards else steps


def _add_product(addend: Tensor, left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """out = addend + left @ right, for one direction or both."""
    return (torch.addmm if left.ndim == 2 else torch.baddbmm)(addend, left, right, out=out)


def _before(start: Tensor, states: Tensor) -> Tensor:
    """The states before each step, (..., T, B, H)."""
    return torch.cat([start.unsqueeze(-3), states.narrow(-3, 0, states.shape[-3] - 1)], dim=-3)


def _outer(grad: Tensor, states: Tensor) -> Tensor:
    """The sum over steps and sequences of grad h^T: (..., T, B, gates * H) -> (..., gates * H, H)."""
    return grad.flatten(-3, -2).mT @ states.flatten(-3, -2)
