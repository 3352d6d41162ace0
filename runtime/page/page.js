// The page: a feed in the order of a visitor's taste, and what a click does to it.

import { picture, palette } from "./art.js";
import { latencyPlot, memoryPlot, stylePlot, svg } from "./charts.js";
import { ask, onAnswer, vector } from "./server.js";
import { cosine, plane, styles } from "./space.js";

const MOST_ITEMS = 400, CARDS = 24, INFO_EVERY_MS = 2000;
const ICONS = {
  view: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zm10 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  save: "M12 20 4 12a5 5 0 0 1 8-6 5 5 0 0 1 8 6z",
  share: "M4 12v7h16v-7M12 15V4m0 0L8 8m4-4 4 4",
  skip: "m6 6 12 12M18 6 6 18",
};
const DONE = { view: "Viewed", save: "Saved", share: "Shared", skip: "Skipped" };
const SOURCES = {
  history: "in the order of what you did",
  preferences: "in the order of what you told at sign-up",
  popular: "nothing is known of you yet: in the order of what is popular",
};

const $ = (id) => document.getElementById(id);
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

let items = [], named = [], plot = null, kind = "All", shown = CARDS, order = [], wishes = null;
let user = sessionStorage.getItem("user") ?? `visitor-${Math.random().toString(36).slice(2, 8)}`;
const cards = new Map(), did = new Map(), places = new Map();

// --- what the server knows

async function load() {
  let next = 0;
  while (next !== null && items.length < MOST_ITEMS) {
    const page = await ask("GET", `content?limit=100&after=${next}&encoding_format=base64`);
    items.push(...page.items.map((item) => ({
      ...item,
      tags: item.tags ?? [],
      title: item.title ?? item.text?.slice(0, 60) ?? item.id,
      kind: item.category ?? item.tags?.[0] ?? "",
      vector: vector(item.embedding),
    })));
    next = page.next;
  }
  $("empty").hidden = items.length > 0;
  if (!items.length) return;
  named = styles(items);
  plot = stylePlot($("plot"), items, named, plane(items, named), (item) => `#${palette(item).far}`, open);
  kinds();
  await become(user);
}

async function become(id) {
  user = id;
  sessionStorage.setItem("user", user);
  $("user").value = user;
  did.clear();
  places.clear();
  plot.forget();
  cards.forEach((card) => card.remove());
  cards.clear();
  await rank();
}

/** Ask for the order, and show it; `after` is what was just done, in words. */
async function rank(after = "") {
  const path = `user/${encodeURIComponent(user)}/embedding`;
  const [ranked, you] = await Promise.all([
    ask("POST", "rank", { user_id: user, candidates: items.map((item) => item.id) }),
    ask("GET", path),
  ]);
  const byId = new Map(items.map((item) => [item.id, item]));
  order = ranked.ranked.map(({ id, score }) => ({ item: byId.get(id), score }));
  wishes = null;
  $("feed-title").textContent = "For you";
  $("source").textContent = SOURCES[ranked.source] ?? ranked.source;
  const near = named.map((style) => [style.name, cosine(you.embedding, style.vector)]).sort((a, b) => b[1] - a[1]).slice(0, 3);
  const nearest = near.map(([name]) => name).join(", ");
  if (ranked.source === "popular") $("closest").textContent = "Save or share something, and see yourself move.";
  else $("closest").replaceChildren("Closest to ", element("b", {}, nearest), ` · ${you.interaction_count} interactions`);
  plot.moveTo(you.embedding, `Your taste is closest to ${nearest}`);
  plot.top(order.slice(0, 5).map(({ item }) => item.id));
  show();
  if (after) $("say").textContent = `${after}. First for you is now ${order[0].item.title}.`;
}

async function interact(item, type) {
  const event = { user_id: user, content_id: item.id, type, event_id: crypto.randomUUID?.() ?? `${user}-${Date.now()}-${Math.random()}` };
  await ask("POST", "interactions", event);
  did.set(item.id, new Set([...(did.get(item.id) ?? []), type]));
  await rank(`${DONE[type]} ${item.title}`);
}

// --- the feed

function show() {
  const visible = order.filter(({ item }) => (kind === "All" || item.kind === kind) && !did.get(item.id)?.has("skip"));
  const before = new Map([...cards].map(([id, card]) => [id, card.getBoundingClientRect()]));
  const best = order[0]?.score ?? 1, least = order.at(-1)?.score ?? 0;
  const list = visible.slice(0, shown).map(({ item, score }, n) => {
    const card = cards.get(item.id) ?? make(item);
    const was = places.get(item.id);
    places.set(item.id, n + 1);
    const moved = was ? was - n - 1 : 0;
    const arrow = moved ? element("span", { class: moved > 0 ? "up" : "down" }, ` ${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}`) : "";
    card.querySelector(".place").replaceChildren(`${n + 1}`, arrow);
    card.querySelector(".match i").style.transform = `scaleX(${0.04 + (0.96 * (score - least)) / (best - least || 1)})`;
    card.querySelector(".match").title = `cosine ${score.toFixed(3)}`;
    card.querySelectorAll(".acts button").forEach((button) =>
      button.setAttribute("aria-pressed", did.get(item.id)?.has(button.dataset.type) ?? false));
    return card;
  });
  const focused = document.activeElement;
  $("cards").replaceChildren(...list);
  if (focused?.isConnected && $("cards").contains(focused)) focused.focus({ preventScroll: true });
  $("more").hidden = visible.length <= shown;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) list.forEach((card) => glide(card, before.get(card.dataset.id)));
}

/** From where the card was to where it is. */
function glide(card, from) {
  const to = card.getBoundingClientRect();
  const frames = from?.width
    ? [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)` }, { transform: "none" }]
    : [{ opacity: 0, transform: "translateY(12px)" }, { opacity: 1, transform: "none" }];
  card.animate(frames, { duration: 550, easing: "cubic-bezier(.2,.8,.2,1)" });
}

function make(item) {
  const art = svg("svg", { class: "art", viewBox: "0 0 320 220", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" });
  art.innerHTML = picture(item, cards.size);
  const opener = element("button", { class: "open", "aria-label": `View ${item.title}` }, art,
    element("span", { class: "words-of" }, element("h3", {}, item.title), element("p", { class: "vendor" }, item.vendor_name ?? "")));
  opener.onclick = () => guard(() => open(item));
  const acts = element("div", { class: "acts" }, ...Object.keys(ICONS).map((type) => {
    const button = element("button", { "data-type": type, "aria-label": `${type} ${item.title}` },
      svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[type] })), type);
    button.onclick = () => guard(() => interact(item, type));
    return button;
  }));
  const card = element("li", { class: "card", "data-id": item.id }, opener, element("span", { class: "place" }),
    element("p", { class: "tags" }, item.tags.slice(0, 4).join(" · ")), element("div", { class: "match" }, element("i")), acts);
  card.onmouseenter = card.onfocusin = () => plot.light(item.id, true);
  card.onmouseleave = card.onfocusout = () => plot.light(item.id, false);
  cards.set(item.id, card);
  return card;
}

function kinds() {
  const counts = new Map();
  for (const item of items) counts.set(item.kind, (counts.get(item.kind) ?? 0) + 1);
  const names = [...counts].filter(([name]) => name).sort((a, b) => b[1] - a[1]).slice(0, 9).map(([name]) => name);
  $("kinds").replaceChildren(...["All", ...names].map((name) => {
    const button = element("button", { "aria-pressed": name === kind }, name);
    button.onclick = () => {
      kind = name;
      shown = CARDS;
      places.clear();
      [...$("kinds").children].forEach((other) => other.setAttribute("aria-pressed", other === button));
      show();
    };
    return button;
  }));
}

/** The item in full; opening it counts as a view. */
async function open(item) {
  const art = svg("svg", { class: "art", viewBox: "0 0 320 220", "aria-hidden": "true" });
  art.innerHTML = picture(item, "detail");
  const close = element("button", { class: "close", "aria-label": "Close" }, "Close");
  close.onclick = () => $("detail").close();
  $("detail").replaceChildren(art, element("div", { class: "inner" },
    element("h2", { id: "detail-title" }, item.title), element("p", { class: "vendor" }, item.vendor_name ?? ""),
    element("p", {}, item.description ?? item.text ?? ""), element("ul", {}, ...item.tags.map((tag) => element("li", {}, tag)))), close);
  $("detail").showModal();
  await interact(item, "view");
}

// --- words

async function read(text) {
  const answer = await ask("POST", "embed", { text, encoding_format: "base64" });
  const found = vector(answer.embedding);
  strip(found);
  wishes = items.map((item) => ({ item, score: cosine(found, item.vector) })).sort((a, b) => b.score - a.score);
  $("reading").hidden = false;
  const parts = [element("b", {}, "384 numbers"), ` from ${answer.tokens} tokens in ${answer.latency_ms.toFixed(1)} ms.`];
  if (wishes.length) {
    const use = element("button", { type: "button" }, "Order the feed by these words");
    use.onclick = () => byWords(text);
    parts.push(" Closest: ", element("b", {}, wishes[0].item.title), ` (${wishes[0].score.toFixed(2)})`, use);
    plot.mark(found);
  }
  $("read").replaceChildren(...parts);
}

function byWords(text) {
  order = wishes;
  $("feed-title").textContent = "As you said";
  $("source").textContent = `in the order of “${text}”; the next click brings back your own`;
  shown = CARDS;
  places.clear();
  show();
  $("feed").scrollIntoView({ block: "start" });
}

/** A vector as a strip of colour: rose below zero, gold above. */
function strip(found) {
  const context = $("strip").getContext("2d"), image = context.createImageData(found.length, 1);
  const most = Math.max(...found.map(Math.abs));
  found.forEach((x, n) => {
    const [r, g, b] = x < 0 ? [143, 74, 91] : [201, 161, 91], strength = Math.sqrt(Math.abs(x) / most);
    image.data.set([r, g, b].map((channel) => 250 + (channel - 250) * strength).concat(255), n * 4);
  });
  context.putImageData(image, 0, 0);
}

// --- the machine

const memory = memoryPlot($("memory-plot")), latency = latencyPlot($("latency-plot"));
onAnswer((answer) => {
  $("last").textContent = answer.path.split("?")[0].split("/").at(-1);
  $("latency").textContent = latency(answer);
});

async function look() {
  if (document.hidden) return;
  const info = await ask("GET", "info", undefined, { quiet: true });
  $("memory").textContent = memory(info.memory);
  const { model_version, encoding } = info.models[0];
  $("model").textContent = `${model_version}, ${encoding} weights · ${info.stored.content} items, ${info.stored.interactions} interactions`;
}

// --- beginning

/** Run, and say what went wrong. */
async function guard(act) {
  try {
    document.getElementById("fault")?.remove();
    await act();
  } catch (error) {
    document.body.append(element("p", { id: "fault", role: "alert" }, error.message));
  }
}

$("who").onsubmit = (event) => { event.preventDefault(); guard(() => become($("user").value.trim())); };
$("forget").onclick = () => guard(async () => { await ask("DELETE", `user/${encodeURIComponent(user)}`); await become(user); });
$("embed").onsubmit = (event) => { event.preventDefault(); const text = $("text").value.trim() || $("text").placeholder; guard(() => read(text)); };
$("more").onclick = () => { shown += CARDS; show(); };
$("detail").onclick = (event) => { if (event.target === $("detail")) $("detail").close(); };
$("user").value = user;

await guard(load);
await guard(look);
setInterval(() => look().catch(() => { $("memory").textContent = "the server does not answer"; }), INFO_EVERY_MS);
