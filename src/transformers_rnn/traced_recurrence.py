"""The same cells as one loop operator, for `torch.export` and `torch.compile`.

torch's recurrent modules freeze the length of a traced sequence or break the graph. A scan over the steps keeps the
batch and the length dynamic. Eager calls never come here.
"""

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
    read = nn.functional.linear(inputs, w_ih, b_ih).transpose(0, 1)
    if initial is None:
        zeros = inputs.new_zeros(inputs.shape[0], w_hh.shape[1])
        initial = (zeros, zeros.clone()) if mode == "LSTM" else (zeros,)

    def step(carry, at):  # type: ignore[no-untyped-def] # torch.compile cannot read annotations here
        read_t, valid_t = at
        after = _step(mode, read_t, nn.functional.linear(carry[0], w_hh, b_hh), carry)
        kept = tuple(torch.where(valid_t, new, old) for new, old in zip(after, carry, strict=True))
        return kept, kept[0].clone()

    if type(inputs.shape[1]) is int and inputs.shape[1] == 1:  # a loop of one step, which some runtimes do not have
        memory, last = step(initial, (read[0], valid))
        return last[:, None], memory
    memory, states = scan(step, initial, (read.contiguous(), valid.transpose(0, 1)[:, :, None].contiguous()))
    return states.transpose(0, 1), memory


def _step(mode: str, read: Tensor, recalled: Tensor, carry: Carry) -> Carry:
    """One step of a cell, from what it reads and what it recalls (B, gates * H): the equations of torch's modules."""
    if mode == "RNN_TANH":
        return (torch.tanh(read + recalled),)
    if mode == "RNN_RELU":
        return (torch.relu(read + recalled),)
    if mode == "GRU":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = read.chunk(3, dim=1), recalled.chunk(3, dim=1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        return ((1 - z) * torch.tanh(n_x + r * n_h) + z * carry[0],)
    i, f, g, o = (read + recalled).chunk(4, dim=1)
    c = torch.sigmoid(f) * carry[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
