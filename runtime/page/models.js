// What is served: each model's version, size and recorded quality, and the way back to the one before.

import { $, button, element, guard, say } from "./dom.js";
import { frame } from "./frame.js";
import { ask } from "./server.js";

const TITLES = { models: "Text encoder", sequence: "Sequence model", ranker: "Hybrid ranker" };
const KINDS = { minilm: "Text encoder", sequence: "Sequence model", ranker: "Hybrid ranker" };

const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const words = (key) => key.replaceAll("_", " ");
const shown = (value) => value === null ? "none" : `${typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : [value].flat().join(", ")}`;
const row = (name, ...values) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", {}, shown(value))));

/** A record as tables: plain values as rows, records of the same fields as columns, others one level down. */
function tables(record, caption) {
  const parts = Object.entries(record), plain = parts.filter(([, value]) => !isRecord(value)), nested = parts.filter(([, value]) => isRecord(value));
  const table = (...rows) => element("table", {}, ...(caption ? [element("caption", {}, caption)] : []), ...rows);
  const made = plain.length ? [table(element("tbody", {}, ...plain.map(([key, value]) => row(words(key), value))))] : [];
  const columns = Object.keys(nested[0]?.[1] ?? {});
  const alike = nested.length > 1 && nested.every(([, one]) => Object.keys(one).join() === columns.join() && !Object.values(one).some(isRecord));
  if (!alike) return [...made, ...nested.flatMap(([key, one]) => tables(one, [caption, words(key)].filter(Boolean).join(" · ")))];
  const head = element("tr", {}, element("td"), ...columns.map((key) => element("th", { scope: "col" }, words(key))));
  return [...made, element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption ?? "Figures" },
    table(element("thead", {}, head), element("tbody", {}, ...nested.map(([key, one]) => row(words(key), ...columns.map((column) => one[column]))))))];
}

function panel(title, { model_version, source, quality = {}, recipe = {}, weights = {}, ...facts }) {
  return element("section", { class: "panel", "data-model": model_version ?? title }, element("h2", {}, title),
    element("p", {}, element("b", {}, model_version ?? ""), source ? ` from ${source}` : ""),
    ...part("Quality, as measured when it was made", quality), ...part("In use", facts),
    ...[["Recipe", recipe], ["Weights", weights]].filter(([, one]) => Object.keys(one).length)
      .map(([name, one]) => element("details", {}, element("summary", {}, name), ...tables(one))));
}

const part = (name, record) => Object.keys(record).length ? [element("h3", {}, name), ...tables(record)] : [];
const command = (text) => element("pre", { tabindex: "0" }, text);

/** What is served of a kind, and a button for the bundle before. */
function line({ name, model_version, before, problem, bundles }) {
  const where = bundles.find((one) => one.installed)?.folder;
  const serve = () => button(`Serve ${before} again`, async () => {
    const now = await ask("POST", `models/${name}/back`);
    await show();
    say(`${now.model_version} is served.`);
  });
  return element("div", { class: "switch", "data-kind": name },
    element("p", {}, element("b", {}, KINDS[name]), `: ${model_version ?? "none"}${where ? `, from ${where}` : ""}${problem ? `. Not served: ${problem}` : ""}`),
    ...(before ? [serve()] : []));
}

async function show() {
  const [info, { models }] = await Promise.all([ask("GET", "info"), ask("GET", "models")]);
  const served = Object.entries(TITLES).flatMap(([key, title]) => [info[key] ?? []].flat().map((model) => panel(title, model)));
  $("models").replaceChildren(...served, element("section", { class: "panel" }, element("h2", {}, "Another one, and back"),
    ...models.map(line),
    element("p", {}, "On the server's machine; it follows within seconds, without dropping a request:"),
    command("vows-edge models list\nvows-edge models install FOLDER   # serve another sequence bundle or ranker\nvows-edge models back             # serve the sequence bundle before again\nvows-edge models back ranker      # and the ranker")));
}

frame("Models");
await guard(show);
