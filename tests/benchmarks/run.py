"""All benchmarks, with one command: prints Markdown tables and writes them into RESULTS.md and the README.

    python tests/benchmarks/run.py --data DIR [--only NAME ...] [--quick]

DIR holds imdb/, sst2/ and aeon_ts/. `--quick` runs everything in tiny sizes and writes nothing. Needs the extra
`bench`. Nothing else should run on the machine meanwhile.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here asks a hub for anything

from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from time import perf_counter

from real_data import Loads
from report import Section, between, facts, fill, fill_readme
from transformers.utils import logging

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
README = HERE.parent.parent / "README.md"
SECTIONS = (
    "training",
    "trainer_loop",
    "limit",
    "denormal_proof",
    "freed_memory_proof",
    "padding_share",
    "onnx_runtime",
    "pipelines",
    "serving",
    "encoders",
    "cost",
    "import_time",
    "streams",
    "early_answers",
    "long_sequences",
    "quantized",
    "torch_free",
)
HEAD = (
    "# Results\n\nWritten by `python tests/benchmarks/run.py --data DATA`, where DATA holds `imdb/`, `sst2/` and "
    "`aeon_ts/`; `--only NAME` renews single sections. Every ratio compares contenders that ran in turn in one "
    "process with the same weights, data and threads; times are medians of five rounds. What loses is shown too."
)


def main() -> None:
    """Run the sections that were asked for."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    loads = Loads(arguments.data, arguments.quick)
    begin = perf_counter()
    for name in arguments.only:
        print(f"[{perf_counter() - begin:4.0f} s] {name}", flush=True)
        section: Section = import_module(name).section(loads)
        print(f"\n{section.markdown()}\n", flush=True)
        if not arguments.quick:
            write(name, section)
    print(f"[{perf_counter() - begin:4.0f} s] done")


def write(name: str, section: Section) -> None:
    """Put a section in its place in RESULTS.md, and the aims of all sections into the README."""
    results = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
    for place in ("facts", *SECTIONS):  # in this order, whatever runs first
        results = results if between(results, place) else fill(results, place, "")
    results = fill(results, "facts", facts())
    results = fill(results, name, section.markdown())
    RESULTS.write_text(results, encoding="utf-8")
    README.write_text(fill_readme(README.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
