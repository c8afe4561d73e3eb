// A directory that `export_onnx` wrote -> a function from a text to labels and scores, as the pipelines give them.

import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web";

const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

/** Load a directory; its files are fetched from below `folder`. */
export async function load(folder) {
  const read = async (name) => {
    const reply = await fetch(`${folder}/${name}`);
    if (!reply.ok) throw new Error(`${folder}/${name} is not there (${reply.status}). Export the model with its tokenizer.`);
    return reply;
  };
  const names = ["config.json", "tokenizer.json", "tokenizer_config.json"];
  const [config, rules, settings] = await Promise.all(names.map(async (name) => (await read(name)).json()));
  const tokenize = tokenizer(rules, settings);
  ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
  const session = await ort.InferenceSession.create(await (await read("model.onnx")).arrayBuffer());
  const classify = async (text) => {
    const ids = tokenize(text);
    if (!ids.length) throw new Error("The text has no token. An empty text has no class.");
    const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const { logits } = await session.run({ input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) });
    return answers(Array.from(logits.data), config);
  };
  return { tokenize, classify };
}

/** A function from a text to its token ids, by the library's JavaScript where that reads as the library does. */
export function tokenizer(rules, settings) {
  if (settings.split_special_tokens) rules = { ...rules, added_tokens: [] }; // "[PAD]" in a text is plain text
  if (rules.pre_tokenizer?.type === "Whitespace") {
    // Of the words of other scripts than Latin, the JavaScript library knows nothing.
    const pattern = { Regex: `[${WORD}]+|[^${WORD}\\p{White_Space}]+` };
    rules = { ...rules, pre_tokenizer: { type: "Split", pattern, behavior: "Removed", invert: true } };
  }
  const found = new Tokenizer(rules, settings);
  // JavaScript alone makes a small sigma another letter at the end of a word.
  const lowers = JSON.stringify(rules.normalizer ?? "").includes('"Lowercase"');
  return (text) => found.encode(lowers ? text.replaceAll("Σ", "σ") : text).ids;
}

/** Labels and scores, best first; calibrated. The label is null where the config says to abstain. */
export function answers(logits, config) {
  const one = config.problem_type ?? "single_label_classification";
  const scaled = logits.map((logit) => (one === "regression" ? logit : logit / (config.temperature ?? 1)));
  let scores = scaled;
  if (one === "multi_label_classification" || (one !== "regression" && logits.length === 1)) {
    scores = scaled.map((logit) => 1 / (1 + Math.exp(-logit)));
  } else if (one === "single_label_classification") {
    const grown = scaled.map((logit) => Math.exp(logit - Math.max(...scaled)));
    const sum = grown.reduce((total, each) => total + each);
    scores = grown.map((each) => each / sum);
  }
  const found = scores.map((score, index) => ({ label: config.id2label?.[index] ?? `LABEL_${index}`, score }));
  found.sort((left, right) => right.score - left.score);
  const unsure = one === "single_label_classification" && found[0].score < (config.abstain_below ?? -Infinity);
  return unsure ? [{ label: null, score: found[0].score }] : found;
}
