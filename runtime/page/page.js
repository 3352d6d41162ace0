// The feed: items in the order of a visitor's taste, of words or of another item, and what a click does to it.

import * as neutral from "./art.js";
import { ACTIONS, glide, makeCard, showChances, showOn } from "./cards.js";
import { itemsOf, loadItems, MOST_ITEMS } from "./catalogue.js";
import { stylePlot, weeksPlot } from "./charts.js";
import { showItem, showWhy } from "./details.js";
import { $, button, counted, element, enable, guard, say } from "./dom.js";
import { become, frame, visitor } from "./frame.js";
import { watchMachine } from "./machine.js";
import { dressFor, loadSample, SAMPLES } from "./sample.js";
import { ask, userPath, vector } from "./server.js";
import { cosine, plane, styles } from "./space.js";

const CARDS = matchMedia("(max-width: 34rem)").matches ? 8 : 24;
const SEARCH_AFTER_MS = 250, FOUND = 100, PAGE = 48, LAST_OFFSET = 900; // the last two of a catalogue too large to rank whole
const SOURCES = {
  history: "in the order of what you did",
  preferences: "in the order of your preferences at sign-up",
  popular: "nothing is known of you yet: in the order of what is popular",
};

let items = [], named = [], plot = null, dress = neutral, info = null, user = visitor();
let kind = "All", shown = CARDS, order = [], ranking = {}; // where an experiment runs, events name the ranking they answer
const cards = new Map(), did = new Map(), places = new Map();
let following = null; // where the next page of this order begins; null where all of it is here
let asked = 0; // orders so far: what answers an earlier one is not shown

// --- the catalogue

async function load() {
  info = await ask("GET", "info", undefined, { quiet: true });
  items = await loadItems();
  $("empty").hidden = items.length > 0;
  if (!items.length) return offerSamples();
  const sample = await dressFor(items);
  if (sample) {
    dress = sample;
    $("ask").textContent = sample.title;
    $("text").placeholder = sample.placeholder;
    $("users").replaceChildren(...sample.users.map((value) => element("option", { value })));
  }
  named = styles(items);
  plot = stylePlot($("plot"), items, named, plane(items, named), dress.colour, (item) => guard(() => open(item)));
  showKinds();
  enable($("who"), $("search"));
  await start(user);
}

function offerSamples() {
  $("samples").replaceChildren(...SAMPLES.map((sample) => {
    const load = button(`Load the ${sample.name} sample`, async () => {
      load.disabled = true;
      try {
        await loadSample(sample, (done, all) => { load.textContent = `${done} of ${all} items`; });
        location.reload();
      } finally {
        load.disabled = false;
      }
    });
    return load;
  }));
}

async function start(id) {
  user = become(id);
  $("user").value = user;
  did.clear();
  places.clear();
  plot.forget();
  await rank();
}

// --- orders

/** Ask for the visitor's order, and show it; `after` is what was just done, in words. */
async function rank(after = "") {
  const mine = ++asked, whole = info.stored.content <= MOST_ITEMS;
  const [ranked, you, style] = await Promise.all([
    whole ? ask("POST", "rank", { user_id: user, candidates: items.map((item) => item.id) }) : recommended(0),
    ask("GET", userPath(user, "embedding")),
    ask("GET", userPath(user, "style?weeks=12&top_k=3")),
  ]);
  if (mine !== asked) return;
  ranking = ranked.ranking_id ? { ranking_id: ranked.ranking_id } : {};
  const source = SOURCES[ranked.source] ?? ranked.source;
  await showOrder(ranked.ranked ?? ranked.results, "For you",
    whole ? source : `${source}; the map has the first ${MOST_ITEMS} of ${info.stored.content} items`, whole ? null : PAGE);
  if (mine !== asked) return;
  const near = named.map((one) => [one.name, cosine(you.embedding, one.vector)]).sort((a, b) => b[1] - a[1]).slice(0, 3);
  const nearest = near.map(([name]) => name).join(", ") || "no tag that is frequent here";
  if (ranked.source === "popular") $("closest").textContent = "Save or share something, and see yourself move.";
  else $("closest").replaceChildren("Closest to ", element("b", {}, nearest), ` · ${counted(you.interaction_count, "interaction")}`);
  plot.moveTo(you.embedding, `Your taste is closest to ${nearest}`);
  plot.top(order.slice(0, 5).map(({ item }) => item.id));
  weeksPlot($("weeks-plot"), style.weeks);
  const tags = (taste) => taste.tags.map(({ name }) => name).join(", ");
  $("drift").textContent = style.now ? `${tags(style.then)} → ${tags(style.now)}` : "Each week's taste becomes a point.";
  if (after) say(`${after}. First for you is now ${order[0].item.title}.`);
}

/** A page of the visitor's order over the whole catalogue. */
const recommended = (offset) => ask("GET", userPath(user, `recommendations?exclude=&top_k=${PAGE}&offset=${offset}`));

/** Show more of this order, fetched where it is not here yet. */
async function showMore() {
  const mine = asked;
  shown += CARDS;
  while (following !== null && visible().length < shown) {
    const { results } = await recommended(following);
    const more = await withItems(results);
    if (mine !== asked) return;
    order.push(...more);
    following = results.length < PAGE || following + PAGE > LAST_OFFSET ? null : following + PAGE;
  }
  await show();
}

async function search(text) {
  if (!text) return rank();
  const mine = ++asked;
  const [found, read] = await Promise.all([ask("POST", "search", { text, top_k: FOUND }),
    ask("POST", "embed", { text, encoding_format: "base64" }, { quiet: true })]);
  if (mine !== asked || $("text").value.trim() !== text) return; // typed on since
  ranking = {};
  await showOrder(found.results, "By your words", `${found.tokens} tokens, read in ${read.latency_ms.toFixed(1)} ms; the next click brings back your own order`);
  if (mine !== asked) return;
  plot.mark(vector(read.embedding));
  say(`First for these words is ${order[0]?.item.title ?? "nothing"}.`);
}

async function like(item) {
  const mine = ++asked;
  const found = await ask("GET", `content/${encodeURIComponent(item.id)}/similar?top_k=${CARDS}`);
  if (mine !== asked) return;
  ranking = {};
  await showOrder(found.results, `Like ${item.title}`, "the closest first; the next click brings back your own order");
  if (mine !== asked) return;
  say(`Most like ${item.title} is ${order[0]?.item.title ?? "nothing"}.`);
  scrollTo({ top: 0 });
}

async function interact(item, type) {
  const who = user;
  const event = { ...ranking, user_id: user, content_id: item.id, type, event_id: crypto.randomUUID?.() ?? `${user}-${Date.now()}-${Math.random()}` };
  await ask("POST", "interactions", event);
  if (who !== user) return; // another visitor since
  did.set(item.id, new Set([...(did.get(item.id) ?? []), type]));
  $("text").value = "";
  await rank(`${ACTIONS[type].done} ${item.title}`);
}

async function open(item) {
  showItem(item, dress.picture(item, "detail"));
  await interact(item, "view"); // opening counts
}

// --- the feed

/** Show the items of `scores`, a list of {id, score}, best first; `next` is where the next page begins. */
async function showOrder(scores, title, source, next = null) {
  order = await withItems(scores);
  following = next;
  if ($("feed-title").textContent !== title) {
    places.clear();
    shown = CARDS;
  }
  $("feed-title").textContent = title;
  $("source").textContent = source;
  await show();
}

async function withItems(scores) {
  const known = scores.filter(({ score }) => score !== null);
  const byId = new Map((await itemsOf(known.map(({ id }) => id))).map((item) => [item.id, item]));
  return known.filter(({ id }) => byId.has(id)).map(({ id, score }) => ({ item: byId.get(id), score }));
}

const visible = () => order.filter(({ item }) => (kind === "All" || item.kind === kind) && !did.get(item.id)?.has("skip"));

async function show() {
  const all = visible();
  const before = new Map([...cards].map(([id, card]) => [id, card.getBoundingClientRect()]));
  const best = order[0]?.score ?? 1, least = order.at(-1)?.score ?? 0;
  const list = all.slice(0, shown).map(({ item, score }, n) => {
    if (!cards.has(item.id)) cards.set(item.id, makeCard(item, dress.picture(item, cards.size), on));
    const was = places.get(item.id), card = cards.get(item.id);
    places.set(item.id, n + 1);
    showOn(card, { place: n + 1, moved: was ? was - n - 1 : 0, score, share: (score - least) / (best - least || 1), done: did.get(item.id) });
    return card;
  });
  const focused = document.activeElement;
  $("cards").replaceChildren(...list);
  if (focused?.isConnected && $("cards").contains(focused)) focused.focus({ preventScroll: true });
  $("more").hidden = all.length <= shown && following === null;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) list.forEach((card) => glide(card, before.get(card.dataset.id)));
  if (!(info.sequence || info.ranker.next_action) || !list.length) return;
  const mine = asked; // other items of the same order may be shown meanwhile: they keep theirs
  const { actions } = await ask("POST", userPath(user, "next-action"), { candidates: list.map((card) => card.dataset.id) });
  if (mine !== asked) return;
  actions.forEach((probabilities) => showChances(cards.get(probabilities.id), probabilities));
}

const on = { open, act: interact, why: (item) => showWhy(user, item), like, light: (item, lit) => plot.light(item.id, lit) };

function showKinds() {
  const counts = new Map();
  for (const item of items) counts.set(item.kind, (counts.get(item.kind) ?? 0) + 1);
  const names = [...counts].filter(([name]) => name).sort((a, b) => b[1] - a[1]).slice(0, 9).map(([name]) => name);
  const buttons = ["All", ...names].map((name) => button(name, () => {
    kind = name;
    shown = CARDS;
    places.clear();
    buttons.forEach((one) => one.setAttribute("aria-pressed", one.textContent === name));
    return show();
  }, { "aria-pressed": `${name === kind}` }));
  $("kinds").replaceChildren(...buttons);
}

// --- beginning

let typing = 0;
frame("Feed");
$("who").onsubmit = (event) => { event.preventDefault(); guard(() => start($("user").value.trim())); };
$("forget").onclick = () => guard(async () => { await ask("DELETE", userPath(user)); await start(user); });
$("search").onsubmit = (event) => { event.preventDefault(); clearTimeout(typing); guard(() => search($("text").value.trim())); };
$("text").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(() => guard(() => search($("text").value.trim())), SEARCH_AFTER_MS);
};
$("more").onclick = () => guard(showMore);
$("user").value = user;
await guard(load);
watchMachine();
