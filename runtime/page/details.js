// Dialogs: an item in full, and why it is where it is.

import { ACTIONS } from "./cards.js";
import { itemsOf } from "./catalogue.js";
import { ago, dialog, element, svg } from "./dom.js";
import { ask } from "./server.js";

const WHY_NOT = {
  preferences: "No interaction stands behind it: the order follows the stated preferences.",
  popular: "Nothing is known of this visitor yet: the order is that of what is popular.",
};

export function showItem(item, picture) {
  const art = svg("svg", { class: "art", viewBox: "0 0 320 220", "aria-hidden": "true" });
  art.innerHTML = picture;
  dialog("detail", item.title, element("p", { class: "vendor" }, item.vendor_name ?? ""),
    element("p", {}, item.description ?? item.text ?? ""), element("ul", { class: "labels" }, ...item.tags.map((tag) => element("li", {}, tag)))).prepend(art);
}

/** Ask which interactions contributed most to the item's score, and show them. */
export async function showWhy(user, item) {
  const found = await ask("POST", "rank?explain=true", { user_id: user, candidates: [item.id] });
  const { interactions = [], features = {} } = found.explanations?.[0] ?? {};
  const items = new Map((await itemsOf(interactions.map((one) => one.content_id))).map((one) => [one.id, one]));
  const row = (name, value) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, signed(value)));
  const parts = [element("p", {}, `Score ${found.scores[0].score?.toFixed(3) ?? "unknown"}, by ${found.model_version}.`)];
  if (Object.keys(features).length) parts.push(table("What each feature gave", Object.entries(features).map(([name, value]) => row(name.replaceAll("_", " "), value))));
  if (interactions.length) {
    parts.push(table("What you did, and its part of the cosine with your taste", interactions.map((one) =>
      row(`${ACTIONS[one.type]?.done ?? one.type} ${items.get(one.content_id)?.title ?? one.content_id}, ${ago(one.timestamp)}`, one.contribution))));
  } else parts.push(element("p", {}, WHY_NOT[found.source] ?? "No interaction contributed to it."));
  dialog("why", `Why ${item.title}?`, ...parts);
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
const table = (title, rows) => element("table", {}, element("caption", {}, title), element("tbody", {}, ...rows));
