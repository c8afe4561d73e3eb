"""The same cells as one loop operator, for `torch.export` and `torch.compile`.

torch's recurrent modules freeze the length of a traced sequence or break the graph. A scan over the steps keeps the
batch and the length dynamic. Eager calls never come here.

The gradients are a scan of our own. The one that torch derives carries the sums of the weights' gradients through the
loop, and inductor (torch 2.13) may keep them in the memory that the loop began with, which it takes for free after the
loop, and elsewhere for still zero: the gradient of one weight becomes that of another. So here nothing that the loop
carried is read after it, and what it begins with belongs to it alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

Carry = tuple[Tensor, ...]  # h (B, H) and, of an LSTM, c (B, H)


def run_traced(
    mode: str, weights: list[Tensor], inputs: Tensor, valid: Tensor, initial: Carry | None
) -> tuple[Tensor, Carry]:
    """Run one direction of one layer over aligned sequences; padding leaves the memory as it is.

    Args:
        mode: torch's name of the cell.
        weights: Of the direction, as torch orders them: input, recurrent and their biases.
        inputs: (B, T, F); for the backward direction reversed already.
        valid: (B, T), true on real steps.
        initial: The memory before the first step; zeros by default.

    Returns:
        The states (B, T, H) and the memory after each sequence's last real step.
    """
    w_ih, w_hh, b_ih, b_hh = weights
    read = nn.functional.linear(inputs, w_ih, b_ih).transpose(0, 1).contiguous()
    valid = valid.transpose(0, 1)[:, :, None].contiguous()
    if initial is None:
        zeros = inputs.new_zeros(inputs.shape[0], w_hh.shape[1])
        initial = (zeros, zeros.clone()) if mode == "LSTM" else (zeros,)
    differentiable = torch.is_grad_enabled() and not torch.compiler.is_exporting()
    run = _Steps.apply if differentiable else _run
    memories = run(mode, read, valid, w_hh, b_hh, *initial)
    return memories[0].transpose(0, 1), tuple(each[-1] for each in memories)


def _run(mode: str, read: Tensor, valid: Tensor, weight: Tensor, bias: Tensor, *initial: Tensor) -> Carry:
    """The memory after each step, (T, B, H) each."""

    def step(carry, at):  # type: ignore[no-untyped-def] # torch.compile cannot read annotations here
        read_t, valid_t = at
        after = _step(mode, read_t, nn.functional.linear(carry[0], weight, bias), carry)
        kept = tuple(torch.where(valid_t, new, old) for new, old in zip(after, carry, strict=True))
        return kept, tuple(each.clone() for each in kept)

    if type(read.shape[0]) is int and read.shape[0] == 1:  # a loop of one step, which some runtimes do not have
        return tuple(each[None] for each in step(initial, (read[0], valid[0]))[1])
    return scan(step, initial, (read, valid))[1]  # type: ignore[no-any-return]


def _step(mode: str, read: Tensor, recalled: Tensor, carry: Carry) -> Carry:
    """One step of a cell, from what it reads and what it recalls (B, gates * H): the equations of torch's modules."""
    if mode == "RNN_TANH":
        return (torch.tanh(read + recalled),)
    if mode == "RNN_RELU":
        return (torch.relu(read + recalled),)
    if mode == "GRU":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = read.chunk(3, dim=-1), recalled.chunk(3, dim=-1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        return ((1 - z) * torch.tanh(n_x + r * n_h) + z * carry[0],)
    i, f, g, o = (read + recalled).chunk(4, dim=-1)
    c = torch.sigmoid(f) * carry[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class _Steps(torch.autograd.Function):
    """`_run`, with gradients by hand: the cells' slopes of all steps at once, then a scan back over the steps."""

    @staticmethod
    def forward(
        ctx: Any, mode: str, read: Tensor, valid: Tensor, weight: Tensor, bias: Tensor, *initial: Tensor
    ) -> Carry:
        memories = _run(mode, read, valid, weight, bias, *initial)
        ctx.mode = mode
        ctx.save_for_backward(read, valid, weight, bias, *initial, *memories)
        return memories

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        read, valid, weight, bias, *saved = ctx.saved_tensors
        initial, memories = saved[: len(grads)], saved[len(grads) :]
        before = [torch.cat([first[None], each[:-1]]) for first, each in zip(initial, memories, strict=True)]
        recalled = nn.functional.linear(before[0], weight, bias)
        slopes = _slopes(ctx.mode, read, recalled, before)

        def step(carry, at):  # type: ignore[no-untyped-def] # torch.compile cannot read annotations here
            valid_t, grads_t, slopes_t = at
            whole = tuple(grad + carried for grad, carried in zip(grads_t, carry, strict=True))
            real = tuple(torch.where(valid_t, each, 0.0) for each in whole)
            grad_read, grad_recalled, *passed = _step_back(ctx.mode, real, slopes_t)
            passed[0] = passed[0] + grad_recalled @ weight
            kept = tuple(torch.where(valid_t, new, old) for new, old in zip(passed, whole, strict=True))
            return kept, (grad_read, grad_recalled.clone(), *(each.clone() for each in kept))

        backwards = tuple(
            tuple(each.flip(0) for each in part) if isinstance(part, tuple) else part.flip(0)
            for part in (valid, grads, slopes)
        )
        zeros = tuple(each[-1] * 0 for each in memories)  # plain zeros would be shared with other loops
        _, (grad_read, grad_recalled, *passed) = scan(step, zeros, backwards)
        flat = grad_recalled.flip(0).flatten(0, 1)
        grad_weight, grad_bias = flat.mT @ before[0].flatten(0, 1), flat.sum(0)
        return None, grad_read.flip(0), None, grad_weight, grad_bias, *(each[-1] for each in passed)


def _slopes(mode: str, read: Tensor, recalled: Tensor, before: list[Tensor]) -> Carry:
    """What no earlier step waits for: by which a cell multiplies gradients on their way back, (T, B, H) each."""
    if mode == "RNN_TANH":
        return (1 - torch.tanh(read + recalled).square(),)
    if mode == "RNN_RELU":
        return ((read + recalled > 0).to(read.dtype),)
    if mode == "GRU":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = read.chunk(3, dim=-1), recalled.chunk(3, dim=-1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        slope_n = (1 - z) * (1 - n * n)
        return slope_n * n_h * r * (1 - r), (before[0] - n) * z * (1 - z), slope_n, slope_n * r, z
    i, f, o = (torch.sigmoid(each) for index, each in enumerate((read + recalled).chunk(4, dim=-1)) if index != 2)
    g = torch.tanh((read + recalled).chunk(4, dim=-1)[2])
    c = torch.tanh(f * before[1] + i * g)
    return g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), c * o * (1 - o), o * (1 - c * c), f


def _step_back(mode: str, grads: Carry, slopes: Carry) -> Carry:
    """The gradients of a step: of what was read, of what was recalled (B, gates * H), of the memory before it."""
    h = grads[0]
    if mode == "GRU":
        r, z, n, n_recalled, kept = (h * slope for slope in slopes)
        return torch.cat([r, z, n], dim=-1), torch.cat([r, z, n_recalled], dim=-1), kept
    if mode == "LSTM":
        i, f, g, o, through, kept = slopes
        c = grads[1] + h * through
        gates = torch.cat([c * i, c * f, c * g, h * o], dim=-1)
        return gates, gates, torch.zeros_like(h), c * kept
    total = h * slopes[0]
    return total, total, torch.zeros_like(h)
