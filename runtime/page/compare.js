// The same visitor and the same items, ranked by each model, side by side.

import { itemsOf, loadItems } from "./catalogue.js";
import { $, element, enable, guard, say } from "./dom.js";
import { become, frame, visitor } from "./frame.js";
import { ask } from "./server.js";

const PLACES = 10;
let models = [], candidates = [], asked = 0;

/** The models that /rank takes here; the sequence model may not be installed. */
async function offered() {
  const [info, { components }] = await Promise.all([ask("GET", "info", undefined, { quiet: true }), ask("GET", "openapi.json", undefined, { quiet: true })]);
  const names = components.schemas.RankRequest.properties.model.anyOf.find((one) => one.enum).enum;
  return ["simple", "sequence", "hybrid"].filter((name) => names.includes(name) && (name !== "sequence" || info.sequence));
}

async function compare() {
  const user = become($("user").value.trim()), mine = ++asked;
  const answers = await Promise.all(models.map((model) => ask("POST", "rank", { user_id: user, model, candidates, top_k: PLACES })));
  const lists = answers.map(({ ranked }) => ranked.filter(({ score }) => score !== null));
  const ids = [...new Set(lists.flat().map(({ id }) => id))];
  const items = new Map((await itemsOf(ids)).map((item) => [item.id, item]));
  if (mine !== asked) return; // another visitor since
  const first = new Set(lists[0].map(({ id }) => id));
  $("columns").replaceChildren(...answers.map((answer, n) => {
    const shared = lists[n].filter(({ id }) => first.has(id)).length;
    const about = [`by ${answer.model_version}, from ${answer.source}`, n && `${shared} of ${lists[n].length} are also in ${models[0]}`,
      answer.fallback].filter(Boolean).join("; ");
    return element("section", { class: "panel", "data-model": models[n] }, element("h2", {}, models[n]), element("p", { class: "note" }, about),
      element("ol", { class: "places" }, ...lists[n].map(({ id, score }) => line(items.get(id), score, ids.indexOf(id)))));
  }));
  say(`Compared ${models.join(", ")} for ${user}.`);
}

function line(item, score, number) {
  const made = element("li", { "data-id": item.id }, element("i", { class: "swatch" }), item.title, element("span", { class: "score" }, score.toFixed(3)));
  made.firstChild.style.background = `hsl(${number * 137.5} 55% 55%)`;
  made.onmouseenter = made.onmouseleave = ({ type }) => {
    for (const same of document.querySelectorAll(".places li")) same.classList.toggle("lit", type === "mouseenter" && same.dataset.id === item.id);
  };
  return made;
}

frame("Compare");
$("user").value = visitor();
$("who").onsubmit = (event) => { event.preventDefault(); guard(compare); };
await guard(async () => {
  models = await offered();
  candidates = (await loadItems()).map(({ id }) => id);
  if (!candidates.length) {
    $("columns").textContent = "The catalogue is empty: the feed offers a sample.";
    return;
  }
  enable($("who"));
  await compare();
});
