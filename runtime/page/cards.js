// One card an item: its picture, what can be done with it, and what the models say of it.

import { button, element, percent, svg } from "./dom.js";

export const ACTIONS = {
  view: { done: "Viewed", icon: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zm10 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6z" },
  save: { done: "Saved", icon: "M12 20 4 12a5 5 0 0 1 8-6 5 5 0 0 1 8 6z" },
  share: { done: "Shared", icon: "M4 12v7h16v-7M12 15V4m0 0L8 8m4-4 4 4" },
  skip: { done: "Skipped", icon: "m6 6 12 12M18 6 6 18" },
};

/** `on` has open, act, why, like and light, each a function of the item. */
export function makeCard(item, picture, on) {
  const art = svg("svg", { class: "art", viewBox: "0 0 320 220", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" });
  art.innerHTML = picture;
  const opener = button([art, element("span", { class: "words-of" }, element("h3", {}, item.title),
    element("p", { class: "vendor" }, item.vendor_name ?? ""))], () => on.open(item), { class: "open", title: "Open, which counts as a view" });
  const acts = Object.entries(ACTIONS).map(([type, { icon }]) => button(
    [svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: icon })), `${type} `, element("span", { class: "chance" }), element("span", { class: "hidden" }, ` ${item.title}`)],
    () => on.act(item, type), { "data-type": type }));
  const card = element("li", { class: "card", "data-id": item.id }, opener, element("span", { class: "place" }),
    element("p", { class: "tags" }, item.tags.slice(0, 4).join(" · ")), element("div", { class: "match" }, element("i")),
    element("div", { class: "acts" }, ...acts),
    element("p", { class: "asks" },
      button("Why this", () => on.why(item), { class: "why", "aria-label": `Why this: ${item.title}` }),
      button("More like this", () => on.like(item), { class: "like", "aria-label": `More like this: ${item.title}` })));
  card.onmouseenter = card.onfocusin = () => on.light(item, true);
  card.onmouseleave = card.onfocusout = () => on.light(item, false);
  return card;
}

/** `place`: from 1; `moved`: places up since the last ranking; `share`: from 0 to 1, of the way from the least score to the
 * best; `done`: a Set of actions. */
export function showOn(card, { place, moved, score, share, done }) {
  const arrow = moved ? element("span", { class: moved > 0 ? "up" : "down" }, ` ${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}`) : "";
  card.querySelector(".place").replaceChildren(`${place}`, arrow);
  card.querySelector(".match i").style.transform = `scaleX(${0.04 + 0.96 * share})`;
  card.querySelector(".match").title = `score ${score.toFixed(3)}`;
  for (const act of card.querySelectorAll(".acts button")) act.setAttribute("aria-pressed", done?.has(act.dataset.type) ?? false);
}

/** What is expected: the probability of each action if the item is shown now. */
export function showChances(card, probabilities) {
  for (const act of card.querySelectorAll(".acts button")) {
    const chance = probabilities?.[act.dataset.type] ?? null;
    act.querySelector(".chance").textContent = chance === null ? "" : percent(chance);
    act.title = chance === null ? "" : `Expected with ${percent(chance)}`;
  }
}

/** From where the card was to where it is. */
export function glide(card, from) {
  const to = card.getBoundingClientRect();
  const frames = from?.width
    ? [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)` }, { transform: "none" }]
    : [{ transform: "translateY(12px)" }, { transform: "none" }];
  card.animate(frames, { duration: 550, easing: "cubic-bezier(.2,.8,.2,1)" });
}
