"""Try a saved classifier in the browser: python examples/demo.py DIRECTORY [--examples ...]

Type a text, or for a model of vectors upload a CSV or .npy file with one step a row, and see the labels with their
scores and the belief over time: what the model says of the first steps alone, then of a few more, to the end. For that
all these beginnings are read in one batch, so models of both directions have such a picture too. Examples are texts,
or files. Nothing leaves the machine. Needs: pip install ".[demo]"
"""

import os
from argparse import ArgumentParser
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

import gradio as gr
import numpy as np
from PIL import Image
from transformers import pipeline

import transformers_rnn  # noqa: F401 - registers the models and the pipeline
from transformers_rnn.canvas import BLUE, GREEN, ORANGE, PURPLE, SKY, canvas

PLACES = 60  # at most so many beginnings are read
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)  # so many labels are drawn, the likeliest at the end


class Demo:
    """What the page shows for one text or file."""

    def __init__(self, directory: str) -> None:
        self.classify: Any = pipeline("sequence-classification", model=directory)
        self.config = self.classify.model.config
        self.is_regression = self.config.problem_type == "regression"  # scores are numbers of any size

    def answer(self, given: str | None) -> tuple[Any, Image.Image]:
        """The scores of all labels, and the picture."""
        try:
            ends, beliefs = self.beliefs(given)
        except (ValueError, TypeError) as error:
            raise gr.Error(str(error), title="This cannot be classified", print_exception=False) from error
        shown = [[name, round(score, 4)] for name, score in beliefs[-1].items()]
        return shown if self.is_regression else beliefs[-1], self.draw(ends, beliefs)

    def beliefs(self, given: str | None) -> tuple[list[int], list[dict[str, float]]]:
        """After how many tokens or steps, what the model says of them: the scores by label, best first."""
        ends, beginnings = self.text(given or "") if self.classify.reads_text else self.vectors(given)
        answers = self.classify(beginnings, batch_size=16, top_k=None, abstain_below=None)
        return ends, [{entry["label"]: entry["score"] for entry in answer} for answer in answers]

    def text(self, text: str) -> tuple[list[int], list[str]]:
        """Numbers of tokens, and the beginnings of a text with so many; the last is all of it."""
        offsets = self.classify.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        ends = spread(len(offsets))
        return ends, [*(text[: offsets[end - 1][1]] for end in ends[:-1]), text]

    def vectors(self, file: str | None) -> tuple[list[int], list[Any]]:
        """Numbers of steps, and the beginnings of a file's vectors with so many."""
        if file is None:
            raise ValueError("Upload a file, or pick an example.")
        series = np.load(file, allow_pickle=False) if file.endswith(".npy") else read_csv(file)
        self.classify.feature_extractor.prepare(series)  # or says what is wrong with it
        ends = spread(len(series))
        return ends, [{"input_features": series[:end]} for end in ends]

    def draw(self, ends: list[int], beliefs: list[dict[str, float]]) -> Image.Image:
        """Draw the scores of the labels that are likeliest at the end."""
        file = BytesIO()
        with canvas(file, 7, 3) as figure:
            axes = figure.subplots()
            for name, colour in zip(beliefs[-1], COLOURS, strict=False):
                line = [belief[name] for belief in beliefs]
                axes.plot(ends, line, color=colour, linewidth=2, marker="o" if len(ends) == 1 else "", label=name)
            axes.set(xlabel="tokens read" if self.classify.reads_text else "steps read", title="Belief over time")
            if not self.is_regression:
                axes.set(ylim=(-0.02, 1.02), ylabel="score")
            axes.legend(loc="best")
        return Image.open(file)

    def page(self, examples: list[str]) -> gr.Blocks:
        """The page."""
        with gr.Blocks(title="Sequence classification", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
            name = Path(self.classify.model.name_or_path).name
            gr.Markdown(f"# {name}\n{len(self.config.id2label)} labels, {self.config.cell_type.upper()}")
            with gr.Row():
                with gr.Column():
                    if self.classify.reads_text:
                        given: Any = gr.Textbox(label="Text", lines=4, elem_id="given", submit_btn="Classify")
                    else:
                        width = f"one step a row, {self.classify.feature_extractor.feature_size} numbers in each"
                        given = gr.File(label=f"CSV or .npy: {width}", type="filepath", elem_id="given")
                    if examples:
                        gr.Examples(examples, given)
                if self.is_regression:
                    scores: Any = gr.Dataframe(headers=["label", "prediction"], elem_id="scores")
                else:
                    scores = gr.Label(label="Labels", elem_id="scores")
            picture = gr.Image(
                label="Belief over time", format="png", buttons=["download", "fullscreen"], elem_id="picture"
            )
            asked = given.submit if self.classify.reads_text else given.change
            asked(self.answer, given, [scores, picture], api_name="classify")
        return page

    def made_up(self, folder: str) -> list[str]:
        """Files of noise with the training data's mean and deviation, where nobody gave better examples."""
        extractor, random, files = self.classify.feature_extractor, np.random.default_rng(0), []
        for length in (20, 60):
            noise = random.normal(size=(length, extractor.feature_size))
            files.append(str(Path(folder) / f"noise-{length}-steps.csv"))
            own = slice(extractor.feature_size)  # the rest is of their changes
            values = noise * (extractor.std[own] if extractor.std else 1.0)
            values += extractor.mean[own] if extractor.mean else 0.0
            np.savetxt(files[-1], values, delimiter=",", fmt="%.6g")
        return files


def spread(count: int) -> list[int]:
    """Up to `PLACES` whole numbers from 1 to a count, evenly spread, the last of them the count."""
    return sorted({round(end) for end in np.linspace(1, count, min(count, PLACES))}) if count else []


def read_csv(file: str) -> Any:
    """Numbers separated by commas, with or without a line of names above them."""
    lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    try:
        named = bool(lines) and not all(map(is_number, lines[0].split(",")))
        return np.loadtxt(lines[named:], delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"A CSV file must hold numbers separated by commas, one step a row: {error}") from error


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> None:
    """Serve the page until the process is asked to end."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", help="of the saved model")
    parser.add_argument("--examples", nargs="+", default=[], help="texts; for a model of vectors CSV or .npy files")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="by default the first from 7860 on that is free")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        demo = Demo(given.directory)
        examples = given.examples or ([] if demo.classify.reads_text else demo.made_up(folder))
        plain = gr.themes.Default(font="sans-serif", font_mono="monospace")  # fonts of the reader's machine
        demo.page(examples).launch(
            server_name=given.host,
            server_port=given.port,
            share=False,
            allowed_paths=[folder, *({str(Path(each).parent) for each in examples if Path(each).is_file()})],
            theme=plain,
            footer_links=[],
        )


if __name__ == "__main__":
    main()
