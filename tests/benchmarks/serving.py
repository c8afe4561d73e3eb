"""`examples/serve.py` under one client and under 200, with batching and without."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from loads import Load
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import Padded, ours

SERVER = Path(__file__).parent.parent.parent / "examples" / "serve.py"
CLIENTS = (1, 200)
WAYS = {"batching": (), "no batching": ("--max_batch", "1")}
INTRO = (
    "`examples/serve.py`, one LSTM, one item a request, over loopback. Each client keeps its connection and asks again "
    "as soon as it has its answer; from the sending of a request to its whole answer. Server and clients are two "
    "processes on the same cores. Without batching is the same server with `--max_batch 1`."
)


def section(loads: Loads) -> Section:
    """Short text and vectors."""
    result = Section("Serving", INTRO)
    for load in (loads.short, loads.vectors):
        requests = [request(item) for item in load.raw_test[:500]]
        found = measure(load, requests, 20 if loads.quick else 2_000, loads.rounds)
        rows = []
        for (clients, way), rounds in found.items():
            p50, p99, rate = (median(values) for values in zip(*rounds, strict=True))
            rows.append([clients, way, seconds(p50), seconds(p99), f"{rate:,.0f}"])
        rate, alone = (median(each[2] for each in found[200, way]) for way in WAYS)
        what = f"{load.name}, {load.model}: 200 clients, requests a second"
        result.aims.append(Aim(what, "without batching", rate / alone, f"{figure(rate)} against {figure(alone)}"))
        columns = ["clients", "", "p50", "p99", "requests a second"]
        result.tables.append(Table(f"{load.name}: {load.model}", columns, rows))
    return result


def measure(
    load: Load, requests: list[bytes], count: int, rounds: int
) -> dict[tuple[int, str], list[tuple[float, float, float]]]:
    """p50, p99 and requests a second of each number of clients and way, in turn, round by round."""
    torch.manual_seed(0)
    found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    with TemporaryDirectory() as directory:
        ours(Padded(load, "LSTM")).eval().save_pretrained(directory)
        load.reader.save_pretrained(directory)
        with served(directory, *WAYS["batching"]) as one, served(directory, *WAYS["no batching"]) as other:
            for _ in range(rounds):
                for way, port in zip(WAYS, (one, other), strict=True):
                    for clients in CLIENTS:
                        number = count if clients > 1 else max(1, count // 10)
                        asyncio.run(ask_all(port, requests, clients, 2 * clients))  # warm
                        found.setdefault((clients, way), []).append(
                            asyncio.run(ask_all(port, requests, clients, number))
                        )
    return dict(sorted(found.items(), key=lambda entry: entry[0][0]))


@contextmanager
def served(directory: str, *options: str) -> Iterator[int]:
    """Start a server; its port."""
    command = (sys.executable, str(SERVER), directory, "--port", "0", *options)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield next(int(port[1]) for line in process.stderr or () if (port := re.search(r"127\.0\.0\.1:(\d+)", line)))
    finally:
        process.terminate()
        process.communicate()


def request(item: object) -> bytes:
    """One item as a whole HTTP request."""
    body = json.dumps({"inputs": item.tolist() if isinstance(item, np.ndarray) else item}).encode()
    return b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def ask_all(port: int, requests: list[bytes], clients: int, count: int) -> tuple[float, float, float]:
    """So many requests by so many clients at once: p50, p99, requests a second."""
    numbers, times = iter(range(count)), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:  # shared by all clients
            begin = perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1]))  # type: ignore[index]
            times.append(perf_counter() - begin)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"The server refused request {number}: {head!r}")
        writer.close()
        await writer.wait_closed()

    begin = perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = perf_counter() - begin
    if len(times) != count:
        raise RuntimeError(f"{count - len(times)} answers were lost.")
    cuts = quantiles(times, n=100) if count > 1 else times * 99
    return cuts[49], cuts[98], count / elapsed
