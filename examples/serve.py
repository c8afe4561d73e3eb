"""Serve a saved classifier over HTTP: python examples/serve.py DIRECTORY [--port 8000]  (--help shows all options)

    POST /predict   {"inputs": ..., "parameters": {"top_k": 3}} -> what the pipeline answers, as JSON
    GET  /health    what is served, and how much waits

"inputs" is a text or a list of texts; for a model of vectors one sequence, a (T, F) table of numbers, or a list of
sequences. Items that wait together, from whatever request, are read in one batch, sorted by length.
Needs: pip install ".[serve]"
"""

import asyncio
import json
import logging
import re
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from transformers import pipeline

import transformers_rnn  # noqa: F401 - registers the models and the pipeline

PARAMETERS = ("top_k", "function_to_apply", "threshold", "abstain_below")
REFUSALS = (ValueError, TypeError, RecursionError)  # by which the package refuses bad input
LIMITS = {
    "max_batch": (64, "items in one batch of the model"),
    "max_items": (256, "items in one request"),
    "max_length": (10_000, "characters of a text, or steps of a sequence of vectors"),
    "max_bytes": (8_000_000, "size of a request"),
    "max_waiting": (4_096, "items that may wait; whoever comes then is sent away with 503"),
}


class Batcher:
    """Answers items in the batches that they happen to wait in; while one is computed, the next gathers."""

    def __init__(self, classify: Any, max_batch: int) -> None:
        self.classify, self.max_batch = classify, max_batch
        self.waiting: asyncio.Queue[tuple[Any, str, asyncio.Future[Any]]] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1)  # always the same one: each thread would start workers of its own

    def ask(self, item: Any, parameters: Mapping[str, Any]) -> "asyncio.Future[Any]":
        """What will be the answer to one item."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((item, json.dumps(parameters, sort_keys=True), answer))
        return answer

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.max_batch and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            for parameters in dict.fromkeys(each[1] for each in batch):
                alike = [each for each in batch if each[1] == parameters]
                work = (self.answer, [item for item, _, _ in alike], json.loads(parameters))
                answers = await asyncio.get_running_loop().run_in_executor(self.thread, *work)
                for (_, _, future), answer in zip(alike, answers, strict=True):
                    if not future.done():  # who asked may have gone
                        future.set_result(answer)

    def answer(self, items: list[Any], parameters: dict[str, Any]) -> list[Any]:
        """The answers in order; in the place of an item that the pipeline refuses stands the error."""
        try:
            return list(self.classify(items, batch_size=max(2, self.max_batch), **parameters))
        except Exception as error:
            if len(items) == 1:
                return [error]
        half = len(items) // 2  # halves find the bad ones quickly, and nobody else suffers from them
        return self.answer(items[:half], parameters) + self.answer(items[half:], parameters)


def build(directory: str, limits: Namespace) -> FastAPI:
    """The application that serves a directory."""
    classify = pipeline("sequence-classification", model=directory)
    batcher = Batcher(classify, limits.max_batch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()  # by now every request has been answered
        batcher.thread.shutdown()

    # No pages of documentation: they would load their scripts from elsewhere.
    app = FastAPI(title=directory, lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        reads: dict[str, Any] = {"reads": "texts"}
        if not classify.reads_text:
            reads = {"reads": "vectors", "feature_size": classify.feature_extractor.feature_size}
        names = list(classify.model.config.id2label.values())
        return {"status": "ok", **reads, "labels": names, "waiting": batcher.waiting.qsize()}

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        inputs, parameters = parsed(await body(request, limits.max_bytes))
        try:
            classify._sanitize_parameters(**parameters)
            items, alone = as_items(inputs, classify)
        except REFUSALS as error:
            raise HTTPException(422, str(error)) from error
        check_limits(items, limits)
        if batcher.waiting.qsize() + len(items) > limits.max_waiting:
            waits = f"{batcher.waiting.qsize()} items wait, and at most {limits.max_waiting} may. Try again later."
            raise HTTPException(503, waits, {"Retry-After": "1"})
        answers = await asyncio.gather(*(batcher.ask(item, parameters) for item in items))
        for number, answer in enumerate(answers):
            place = "" if alone else f"inputs[{number}]: "
            if isinstance(answer, REFUSALS):
                raise HTTPException(422, f"{place}{answer}")
            if isinstance(answer, FloatingPointError):  # good input, but the model has no answer to it
                raise HTTPException(500, f"{place}{answer}")
            if isinstance(answer, Exception):
                logging.getLogger("uvicorn.error").error("%s", place, exc_info=answer)
                raise HTTPException(500, "The server failed on this input; its log says how.")
        return answers[0] if alone and {"top_k", "threshold"} & parameters.keys() else answers

    return app


async def body(request: Request, most: int) -> bytes:
    """The request's body, no more of which is read than is allowed."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise HTTPException(413, f"A request may have {most} bytes, this one has more. Send less at a time.")
    return content


def parsed(content: bytes) -> tuple[Any, dict[str, Any]]:
    """The inputs and parameters of a request."""
    example = 'Send {"inputs": ..., "parameters": {"top_k": 3}}; "parameters" may be left out.'
    try:
        asked = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body must be JSON, but it cannot be read: {error}. {example}") from error
    if not isinstance(asked, dict) or "inputs" not in asked or asked.keys() - {"inputs", "parameters"}:
        came = f"an object with {sorted(asked)}" if isinstance(asked, dict) else type(asked).__name__
        raise HTTPException(422, f'The body must be an object with "inputs", got {came}. {example}')
    parameters = {} if asked.get("parameters") is None else asked["parameters"]
    if not isinstance(parameters, dict) or parameters.keys() - set(PARAMETERS):
        came = f"{sorted(parameters)}" if isinstance(parameters, dict) else type(parameters).__name__
        known = ", ".join(PARAMETERS)
        raise HTTPException(422, f'"parameters" must be an object with some of {known}, got {came}. {example}')
    return asked["inputs"], parameters


def as_items(inputs: Any, classify: Any) -> tuple[list[Any], bool]:
    """The single sequences, and whether they came as one and not as a list."""
    if classify.reads_text:
        alone = isinstance(inputs, (str, dict))
        items = [inputs] if alone else inputs
        if not isinstance(items, list):
            raise ValueError(f'"inputs" must be a text or a list of texts, got {type(items).__name__}.')
        return items, alone
    if not isinstance(inputs, (list, dict)):
        wanted = f"a (T, {classify.feature_extractor.feature_size}) table of numbers, or a list of such tables"
        raise ValueError(f'"inputs" must be {wanted}, got {type(inputs).__name__}.')
    mappings = isinstance(inputs, list) and (not inputs or isinstance(inputs[0], dict))
    many = mappings or classify.feature_extractor.is_batch(inputs)
    items = inputs if many else [inputs]
    return [item if isinstance(item, dict) else {"input_features": item} for item in items], not many


def check_limits(items: list[Any], limits: Namespace) -> None:
    """Refuse what would hold up the others."""
    if not items:
        raise HTTPException(422, '"inputs" is empty: send at least one item.')
    if len(items) > limits.max_items:
        few = f"A request may have {limits.max_items} items, got {len(items)}. Send them in several."
        raise HTTPException(413, few)
    for number, item in enumerate(items):
        for part in item.values() if isinstance(item, dict) else [item]:
            if isinstance(part, (str, list)) and len(part) > limits.max_length:
                unit = "characters" if isinstance(part, str) else "steps"
                short = f"at most {limits.max_length} {unit} are read, got {len(part)}. Shorten it."
                raise HTTPException(413, f"inputs[{number}]: {short}")
            if isinstance(part, str) and not part.isascii() and re.search("[\ud800-\udfff]", part):
                half = "half of a surrogate pair, which is no character. Encode the text as UTF-8."
                raise HTTPException(422, f"inputs[{number}]: the text has {half}")


def main() -> None:
    """Serve until the process is asked to end; what was asked before that is answered."""
    parser = ArgumentParser(description=__doc__.splitlines()[0], formatter_class=ArgumentDefaultsHelpFormatter)
    parser.add_argument("directory", help="of the saved model")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all of the machine's addresses")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    for name, (default, meaning) in LIMITS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=meaning)
    given = parser.parse_args()
    uvicorn.run(build(given.directory, given), host=given.host, port=given.port, access_log=False)


if __name__ == "__main__":
    main()
