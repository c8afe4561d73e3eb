// The page. Beside it lie what `npm install` brings, and a directory `model` (or `?model=...`) that `export_onnx` wrote.

import { load } from "./classifier.js";

const [text, status, table] = ["text", "status", "answers"].map((id) => document.getElementById(id));
let last = 0;

function show(answers) {
  table.replaceChildren(
    ...answers.map(({ label, score }) => {
      const row = document.createElement("tr");
      const meter = Object.assign(document.createElement("meter"), { value: score });
      for (const cell of [label ?? "no answer", score.toFixed(4), meter]) row.insertCell().append(cell);
      return row;
    }),
  );
}

try {
  const model = await load(new URLSearchParams(location.search).get("model") ?? "model");
  Object.assign(window, { model }); // for the console
  text.addEventListener("input", async () => {
    const mine = ++last;
    let answers = [];
    let message = "";
    try {
      if (text.value.trim()) answers = await model.classify(text.value);
    } catch (error) {
      message = error.message;
    }
    if (mine !== last) return; // something newer has been typed
    show(answers);
    status.textContent = message;
  });
  text.disabled = false;
  status.textContent = "";
} catch (error) {
  status.textContent = error.message;
}
