"""Vectors that others learned -> a table (V, F) for the vocabulary of our tokenizer: from word vectors or a model."""

import gzip
import logging
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

FASTTEXT = (793712314).to_bytes(4, "little")  # how its binary files begin
FILES = (".txt", ".vec", ".bin", ".gz")  # a name that ends so is no model, even if there is no such file
DIMENSIONS = 256
BATCH = 256  # tokens in one contextual pass
LONGEST = 64  # pieces of one token

Key = TypeVar("Key")
Rows: TypeAlias = dict[Key, NDArray[np.float32]]


@dataclass(frozen=True)
class PretrainedVectors:
    """A table of vectors for a vocabulary, and which of its rows are known.

    Args:
        table: The vectors (V, F), float32; the row of the padding token is zero.
        found: Which tokens (V,) have a vector in the source. The other rows are random, with the mean and deviation
            of the found rows, feature by feature, or those of an embedding that starts at random.
        source: What the vectors were made from, in words.
    """

    table: NDArray[np.float32]
    found: NDArray[np.bool_]
    source: str

    def __str__(self) -> str:
        size, width = self.table.shape
        return f"{self.source}: vectors of width {width} for {int(self.found.sum())} of {size} tokens"


def vectors_from_file(
    path: str | Path, tokenizer: PreTrainedTokenizerBase, *, limit: int | None = None, seed: int = 0
) -> PretrainedVectors:
    """Look up the tokens of a vocabulary in a file of word vectors, as they are or else in lower case.

    Reads the text format of word2vec, fastText (`.vec`) and GloVe (no header) and the binary format of word2vec, also
    compressed with gzip, and fastText's binary model, which has a vector for unknown words, too, from their character
    n-grams. gensim (the extra `vectors`) reads what is binary.

    Args:
        path: The file.
        tokenizer: The tokenizer of the model; it gives the order of the rows.
        limit: Read no more than so many words, in most files the most frequent; `None`: all. A fastText model is read
            whole.
        seed: Of the rows that are not found.

    Raises:
        ModuleNotFoundError: The file is binary, and gensim is not installed.
        FileNotFoundError: There is no such file.
        ValueError: A file of another format, or one without any token of the vocabulary.
    """
    tokens = {index: text.strip() for index, text in _plain_tokens(tokenizer) if text.strip()}
    words = _read_file(Path(path), {form for word in tokens.values() for form in (word, word.lower())}, limit)
    known = getattr(words, "key_to_index", words)  # fastText makes a vector for any word, but knows some
    rows: Rows[int] = {}
    for index, word in tokens.items():
        form = next((form for form in (word, word.lower()) if form in known), word)
        if form in words:
            rows[index] = words[form]
    return _complete(rows, tokenizer, Path(path).name, seed)


def vectors_from_model(
    model: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dimensions: int | None = DIMENSIONS,
    contextual: bool = True,
    sif: float | None = None,
    seed: int = 0,
    **options: Any,
) -> PretrainedVectors:
    """Make a vector for each token of a vocabulary with any model of the host (after model2vec, Tulkens & van Dongen
    2024): one contextual pass for each token alone, principal components, and, if wanted, less weight for frequent
    tokens.

    Args:
        model: A directory or name on the hub, with a tokenizer. An encoder-decoder gives its encoder.
        tokenizer: The tokenizer of our model; it gives the order of the rows.
        dimensions: F, so many principal components, or as many as there are; `None`: the states as they are.
        contextual: `True`: the mean of the last states over the token's pieces and the special tokens of the source.
            `False`: the mean of the input embeddings of its pieces, which is quick.
        sif: a of the weight a / (a + p) (Arora et al. 2017), such as 1e-4, where p, the probability of a token, is
            taken from its rank in the vocabulary (Zipf): tokenizers are sorted by frequency. It is for means of
            vectors, as in model2vec; recurrent layers were worse with it on SST-2. `None`: no weights.
        seed: Of the rows that are not found.
        **options: Arguments of both `from_pretrained`, such as `revision`.

    Raises:
        ValueError: No token of the vocabulary is known there, or a `sif` or `dimensions` that is not positive.
    """
    for choice, value, without in (("sif", sif, "weights"), ("dimensions", dimensions, "principal components")):
        if value is not None and value <= 0:
            raise ValueError(f"{choice} must be greater than 0, or None for no {without}, got {value}.")
    source = AutoModel.from_pretrained(model, **options).eval()
    source = source.get_encoder() if source.config.is_encoder_decoder else source
    pieces = _pieces(tokenizer, AutoTokenizer.from_pretrained(model, **options), contextual)
    vectors = _contextual(source, pieces) if contextual else _static(source, pieces)
    name = f"{Path(model).name} ({'contextual' if contextual else 'input embeddings'})"
    if vectors and dimensions is not None:
        vectors = _principal_components(vectors, dimensions)
    if sif is not None:
        vectors = _weighted(vectors, sif)
    return _complete(vectors, tokenizer, name, seed)


def known_words(source: str | Path, *, limit: int | None = 30_000, **options: Any) -> list[str]:
    """The words that a file of word vectors or a model knows as a whole, in its order, mostly by frequency; of a
    byte-pair vocabulary also beginnings of words.

    For `train_tokenizer`: with them in the vocabulary, words that the training texts do not have are read by the
    vectors that others learned, not as unknown (Kim, 2014, who has word2vec for the words of the test texts).

    Args:
        source: A file as [`vectors_from_file`] reads it, or the directory or name of a model with a tokenizer.
        limit: So many at most; `None`: all.
        **options: For a model, arguments of `from_pretrained`, such as `revision`.

    Raises:
        ModuleNotFoundError: The file is binary, and gensim is not installed.
        FileNotFoundError: There is no such file.
        ValueError: A file of another format.
    """
    if _is_file(source):
        words = _read_file(Path(source), None, limit)
        return list(getattr(words, "key_to_index", words))[:limit]
    texts = (text for _, text in _plain_tokens(AutoTokenizer.from_pretrained(source, **options)))
    # After another token, a piece that continues a word comes without a space before it.
    return list(islice((text.strip() for text in texts if text.startswith(" ") and text.strip()), limit))


def settle_vectors(given: Any, tokenizer: PreTrainedTokenizerBase, input_size: int | None = None) -> PretrainedVectors:
    """Turn whatever was given as pretrained vectors into a table that fits a tokenizer.

    Args:
        given: A [`PretrainedVectors`]; an array (V, F); a file of word vectors; a directory or name of a model; or a
            function of the tokenizer, such as `partial(vectors_from_model, "directory", contextual=False)`.
        tokenizer: The tokenizer of the model.
        input_size: F, if it is decided: what a model gives is brought to this width.

    Raises:
        ValueError: Another number of tokens or another width, or values that are not finite.
    """
    if isinstance(given, str | Path):
        vectors = (
            vectors_from_file(given, tokenizer)
            if _is_file(given)
            else vectors_from_model(given, tokenizer, dimensions=input_size or DIMENSIONS)
        )
    elif isinstance(given, PretrainedVectors):
        vectors = given
    elif callable(given) and not isinstance(given, torch.Tensor):
        vectors = given(tokenizer)
    else:
        table = torch.as_tensor(given).detach().cpu().float().numpy()
        vectors = PretrainedVectors(
            table, np.ones(len(table), bool), f"array {sha256(table.tobytes()).hexdigest()[:12]}"
        )
    shape = vectors.table.shape
    if len(shape) != 2 or shape[0] != len(tokenizer):
        raise ValueError(
            f"The pretrained vectors must be a table (V, F) with a row for each of the {len(tokenizer)} tokens of the "
            f"tokenizer, got {shape}. Make it with this tokenizer, or pass its own as processing_class."
        )
    if input_size not in (None, shape[1]):
        raise ValueError(
            f"The pretrained vectors have the width {shape[1]}, but input_size is {input_size}. Leave input_size "
            "out, or give vectors of that width."
        )
    if not np.isfinite(vectors.table).all():
        raise ValueError("The pretrained vectors must be finite, got NaN or infinity. Repair their source first.")
    return vectors


def _is_file(source: str | Path) -> bool:
    return Path(source).is_file() or Path(source).suffix in FILES


def _plain_tokens(tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[int, str]]:
    """Index and text of every token that is not a special one, in the order of the vocabulary."""
    special = set(tokenizer.all_special_ids)
    for index, token in enumerate(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))):
        if index not in special and token is not None:
            # After another token, a decoder takes the marks of a piece off: "##ing" -> "ing".
            yield index, tokenizer.convert_tokens_to_string(["a", token])[1:]


def _complete(rows: Rows[int], tokenizer: PreTrainedTokenizerBase, source: str, seed: int) -> PretrainedVectors:
    """Draw what was not found, clear the padding, and say how much was found."""
    if not rows:
        some = ", ".join(repr(text.strip()) for _, text in islice(_plain_tokens(tokenizer), 5))
        raise ValueError(
            f"{source} knows no token of the vocabulary ({some}). Give vectors of the same language, and a "
            "tokenizer whose tokens are words or pieces of them."
        )
    known = np.stack([rows[index] for index in sorted(rows)]).astype(np.float32)
    found = np.zeros(len(tokenizer), bool)
    found[list(rows)] = True
    shape = (len(tokenizer), known.shape[1])
    table = np.random.default_rng(seed).normal(known.mean(0), known.std(0), shape).astype(np.float32)
    table[found] = known
    if tokenizer.pad_token_id is not None:
        table[tokenizer.pad_token_id] = 0
    vectors = PretrainedVectors(table, found, source)
    logger.info("%s", vectors)
    return vectors


def _read_file(path: Path, wanted: set[str] | None, limit: int | None) -> Any:
    """The vectors by their words: of a text at least those wanted (`None`: any), of a binary file all."""
    with _open(path) as file:
        first, second = file.readline(1 << 16), file.readline(1 << 16)
    header = [int(number) for number in first.split()] if re.fullmatch(rb"\d+ \d+\s*", first) else None
    try:
        if first.startswith(FASTTEXT):
            return _gensim().fasttext.load_facebook_vectors(str(path))
        if header is not None and not _is_text(second, width=header[1]):
            read = _gensim().KeyedVectors.load_word2vec_format
            return read(str(path), binary=True, limit=limit, unicode_errors="replace")
        return _read_text(path, wanted, limit, header)
    except (ValueError, EOFError, AssertionError, struct.error) as error:
        raise ValueError(
            f"{path.name} must be word vectors: the text or binary format of word2vec or fastText, or GloVe's text, "
            f"a word and its numbers a line; reading it failed with: {error}"
        ) from error


def _read_text(path: Path, wanted: set[str] | None, limit: int | None, header: list[int] | None) -> Rows[str]:
    """The vectors of the wanted words alone, which is quicker than all and needs little memory.

    A word may hold spaces, as some of GloVe's do, so numbers are counted from the end of a line.
    """
    vectors: Rows[str] = {}
    with _open(path) as file:
        width = len(file.readline().split()) - 1 if header is None else header[1]
        if width < 1:
            raise ValueError("there are no numbers in its first line")
        if header is None:
            file.seek(0)
        for line in islice(file, limit):
            if wanted is not None and line.split(b" ", 1)[0].decode(errors="replace") not in wanted:
                continue
            word, *numbers = line.decode(errors="replace").rstrip().rsplit(" ", width)
            if len(numbers) != width:
                raise ValueError(f"{word!r} has {len(numbers)} numbers instead of {width}")
            if wanted is None or word in wanted:
                vectors.setdefault(word, np.array([float(number) for number in numbers], dtype=np.float32))
    return vectors


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _is_text(line: bytes, width: int) -> bool:
    """Whether the line after the header ends with so many numbers that can be read."""
    try:
        return len([float(number) for number in line.split()[-width:]]) == width
    except ValueError:
        return False


def _gensim() -> Any:
    try:
        from gensim import models  # noqa: PLC0415 - an extra, and slow
    except ImportError as error:
        raise ModuleNotFoundError(
            'binary files of word vectors need gensim: pip install "transformers-rnn[vectors]"'
        ) from error
    return models


def _pieces(tokenizer: PreTrainedTokenizerBase, source: PreTrainedTokenizerBase, whole: bool) -> dict[int, list[int]]:
    """The ids of a source for every token that it can spell, with its special tokens if it is to read them whole."""
    if not whole and tokenizer.get_vocab() == source.get_vocab():
        return {index: [index] for index in range(len(tokenizer)) if index != tokenizer.pad_token_id}
    texts = {index: text for index, text in _plain_tokens(tokenizer) if text.strip() and "\ufffd" not in text}
    choices = {"truncation": True, "max_length": min(source.model_max_length, LONGEST)}
    plain, read = (
        source(list(texts.values()), add_special_tokens=special, **choices)["input_ids"] if texts else []
        for special in (False, whole)
    )
    spelt = zip(texts, plain, read, strict=True)
    return {index: ids for index, bare, ids in spelt if bare and source.unk_token_id not in bare}


@torch.inference_mode()
def _contextual(source: Any, pieces: Mapping[int, list[int]]) -> Rows[int]:
    """The mean of the last states; tokens of equally many pieces go together, so that nothing is padded."""
    vectors: Rows[int] = {}
    for _, same in groupby(sorted(pieces, key=lambda index: len(pieces[index])), lambda index: len(pieces[index])):
        indices = list(same)
        for first in range(0, len(indices), BATCH):
            some = indices[first : first + BATCH]
            ids = torch.tensor([pieces[index] for index in some])
            states = source(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors |= dict(zip(some, states.mean(1).float().numpy(), strict=True))
    return vectors


@torch.inference_mode()
def _static(source: Any, pieces: Mapping[int, list[int]]) -> Rows[int]:
    weight = source.get_input_embeddings().weight.float()
    return {index: weight[ids].mean(0).numpy() for index, ids in pieces.items()}


def _principal_components(vectors: Rows[int], dimensions: int) -> Rows[int]:
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    table = np.stack(list(vectors.values()))
    components = PCA(min(dimensions, *table.shape), svd_solver="covariance_eigh").fit_transform(table)
    return dict(zip(vectors, components, strict=True))


def _weighted(vectors: Rows[int], sif: float) -> Rows[int]:
    """Each vector times a / (a + p), where p is as 1 / rank over the tokens in the order of the vocabulary."""
    scale = sum(1 / rank for rank in range(1, len(vectors) + 1))
    weights = {index: sif / (sif + 1 / (rank * scale)) for rank, index in enumerate(sorted(vectors), start=1)}
    return {index: vector * np.float32(weights[index]) for index, vector in vectors.items()}
