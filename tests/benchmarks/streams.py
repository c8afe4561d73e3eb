"""Streams: does a step stay as cheap and memory as flat for ever, and what does re-reading a window cost instead?"""

from statistics import median
from time import perf_counter

import numpy as np
import psutil
import torch
from measure import Contender, interleave
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from transformers_rnn import RNNConfig, RNNForSequenceClassification, StreamingClassifier

WINDOW, STREAMS, SAMPLE, SMALL = 128, 10_000, 64, 4
INTRO = (
    "One GRU layer of 128 units over token ids, vocabulary 30,522. Many streams: one token of each of 10,000 streams in "
    "one call of `push_many`. Against it, re-reading the last 128 tokens of each stream: our own model on a sample of "
    "64 streams, encoders with random weights on a sample of 4, scaled to one stream."
)


def section(loads: Loads) -> Section:
    """One stream for long, many streams against windows."""
    result = Section("Streams", INTRO)
    torch.manual_seed(0)
    config = RNNConfig(vocab_size=30_522, pad_token_id=0, input_size=128, hidden_size=128, cell_type="gru")
    model = RNNForSequenceClassification(config).eval()
    _one(result, model, 20_000 if loads.quick else 1_000_000)
    _many(result, model, 200 if loads.quick else STREAMS, loads)
    return result


def _one(result: Section, model: RNNForSequenceClassification, steps: int) -> None:
    classifier, process = StreamingClassifier(model), psutil.Process()
    ids = np.random.default_rng(0).integers(1, 30_522, 1000).tolist()
    for one in ids:  # warm
        classifier.push([one])
    times, memory = [], []
    for _ in range(steps // 1000):
        begin = perf_counter()
        for one in ids:
            classifier.push([one])
        times.append(perf_counter() - begin)
        memory.append(process.memory_info().rss / 2**20)
    what = f"One stream, {steps:,} steps pushed singly"
    first, last = median(times[:10]), median(times[-10:])  # one thousand alone shows what else the machine does
    absolute = f"{seconds(last / 1000)} against {seconds(first / 1000)} a step"
    against = "the first thousand (medians of ten)"
    result.aims.append(Aim(f"{what}: last thousand", against, last / first, absolute, at_most=1.05))
    grown = f"{memory[-1]:.1f} MiB after {memory[0]:.1f} MiB in the process"
    result.aims.append(Aim(f"{what}: memory", "after 1,000", memory[-1] / memory[0], grown, at_most=1.01))
    rows = [["all", f"{sum(times):.0f} s", figure(steps / sum(times)), seconds(sum(times) / steps)]]
    rows += [["single thousands: first", "", figure(1000 / times[0]), seconds(times[0] / 1000)]]
    rows += [["single thousands: last", "", figure(1000 / times[-1]), seconds(times[-1] / 1000)]]
    result.tables.append(Table(what, ["", "time", "steps a second", "a step"], rows))


def _many(result: Section, model: RNNForSequenceClassification, streams: int, loads: Loads) -> None:
    mini = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "num_attention_heads": 12}
    encoders = {
        "DistilBERT size, window": DistilBertForSequenceClassification(DistilBertConfig()).eval(),
        "MiniLM size, window": BertForSequenceClassification(BertConfig(**mini)).eval(),
    }
    classifier, keys = StreamingClassifier(model), [f"stream {index}" for index in range(streams)]
    ids = np.random.default_rng(0).integers(1, 30_522, (streams, 1))

    def push(_: int) -> float:
        classifier.push_many(ids, keys)
        return streams

    def window(reader: torch.nn.Module, sample: int) -> Contender:
        batch = torch.randint(1, 30_522, (sample, WINDOW))

        @torch.inference_mode()
        def read(_: int) -> float:
            reader(input_ids=batch, attention_mask=torch.ones_like(batch))
            return sample

        return Contender(read, before=read)

    def push_lists(_: int) -> float:
        listed.push_many(lists, keys)
        return streams

    listed, lists = StreamingClassifier(model), ids.tolist()
    contenders = {"`push_many`": Contender(push, before=push), "`push_many`, lists": Contender(push_lists, push_lists)}
    contenders |= {"our model, window": window(model, SAMPLE)}
    contenders |= {name: window(encoder, SMALL) for name, encoder in encoders.items()}
    times = interleave(contenders, loads.rounds)
    own = times["`push_many`"]
    rows = [[name, figure(1 / each), seconds(each), f"{figure(each / own)}x"] for name, each in times.items()]
    columns = ["", "steps a second", "a step of one stream", "against `push_many`"]
    result.tables.append(Table(f"{streams:,} streams at once", columns, rows))
    for name in ("our model, window", *encoders):  # which read the last 128 steps again at each step
        absolute = f"{figure(1 / own)} against {figure(1 / times[name])} steps a second"
        result.aims.append(Aim(f"{streams:,} streams at once, `push_many`", name, times[name] / own, absolute))
