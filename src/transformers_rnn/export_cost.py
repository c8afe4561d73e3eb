"""What an exported model costs: bytes on disk, seconds a call; and whether fewer bits cost more time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .configuration_rnn import RNNConfig
from .onnx_builder import require
from .state import RNNState

TOGETHER, STEPS = 32, 30  # of the batch that is timed
_SLOWER = 1.1  # what is less is noise
_ROUNDS, _AT_LEAST = 7, 0.03  # seconds a round


@dataclass(frozen=True)
class Cost:
    """What a file costs.

    Args:
        size: Bytes.
        one: Seconds of one thread for one sequence of 30 steps.
        many: Seconds for 32 of them together.
    """

    size: int
    one: float
    many: float

    def slower_than(self, other: "Cost") -> list[str]:
        """In words, what takes more than a tenth longer than with another file."""
        pairs = (("one sequence", self.one, other.one), (f"{TOGETHER} sequences", self.many, other.many))
        return [f"{what}: {a / b:.2f} times the time" for what, a, b in pairs if a > _SLOWER * b]


def compare_cost(config: RNNConfig, files: Mapping[str, Path]) -> dict[str, Cost]:
    """Time ONNX files of one model in turn, on one thread; of each the fastest round counts.

    Args:
        config: Of the model.
        files: By name.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    runs: dict[tuple[str, int], Callable[[], Any]] = {}
    for name, file in files.items():
        session = _session(file)
        for size in (1, TOGETHER):
            runs[name, size] = _runner(session, config, size)
    times = dict.fromkeys(runs, inf)
    for _ in range(_ROUNDS):
        for key, run in runs.items():
            times[key] = min(times[key], _seconds(run))
    return {name: Cost(file.stat().st_size, times[name, 1], times[name, TOGETHER]) for name, file in files.items()}


def _session(file: Path) -> Any:
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # all the work is in this thread, whose time is taken
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _runner(session: Any, config: RNNConfig, size: int) -> Callable[[], Any]:
    generator = np.random.default_rng(0)
    feed: dict[str, NDArray[Any]] = {"attention_mask": np.ones((size, STEPS), np.int64)}
    if config.vocab_size is None:
        feed["input_features"] = generator.standard_normal((size, STEPS, config.input_size)).astype(np.float32)
    else:
        feed["input_ids"] = generator.integers(0, config.vocab_size, (size, STEPS))
    if len(session.get_inputs()) > len(feed):
        feed |= {f"past_{name}": value.numpy() for name, value in RNNState.initial(config, size).items()}
    return lambda: session.run(None, feed)


def _seconds(run: Callable[[], Any]) -> float:
    """What a call takes of this thread's time, which other programs hardly change; the mean of a round."""
    run()
    times, begin = 0, thread_time()
    while thread_time() < begin + _AT_LEAST or not times:
        run()
        times += 1
    return (thread_time() - begin) / times
