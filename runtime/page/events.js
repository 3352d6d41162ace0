// The last events of the log, of everybody or of one visitor.

import { ACTIONS } from "./cards.js";
import { itemsOf } from "./catalogue.js";
import { $, ago, button, element, guard, say } from "./dom.js";
import { become, frame } from "./frame.js";
import { ask } from "./server.js";

const MOST = 100;
let asked = 0;

const events = (after, limit, quiet = false) => ask("GET", `events/export?after=${after}&limit=${limit}`, undefined, { lines: true, quiet });

/**
 * The newest events. The log is read forwards and its sequence numbers have gaps, so the first number to read from is
 * searched: the largest one after which MOST events still follow.
 */
async function lastEvents() {
  const full = async (after) => (await events(after, MOST, true)).length === MOST;
  if (!(await full(0))) return events(0, MOST);
  let low = 0, high = MOST;
  while (await full(high)) [low, high] = [high, high * 2];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await full(middle)) low = middle;
    else high = middle;
  }
  return events(low, MOST);
}

async function ofUser(user) {
  const found = await ask("GET", `events/export?user_id=${encodeURIComponent(user)}`, undefined, { lines: true });
  return found.slice(-MOST);
}

async function show() {
  const mine = ++asked, user = $("user").value.trim(), found = (await (user ? ofUser(user) : lastEvents())).reverse();
  const items = new Map((await itemsOf([...new Set(found.map((event) => event.content_id))])).map((item) => [item.id, item]));
  if (mine !== asked) return; // another visitor since
  $("events").replaceChildren(...found.map((event) => {
    const cells = [element("time", { datetime: event.timestamp, title: event.timestamp }, ago(event.timestamp)),
      button(event.user_id, () => { $("user").value = become(event.user_id); return show(); }, { title: "Only this visitor's" }),
      ACTIONS[event.type]?.done ?? event.type, items.get(event.content_id)?.title ?? event.content_id, event.device ?? ""];
    return element("tr", { "data-event": event.event_id }, ...cells.map((cell) => element("td", {}, cell)));
  }));
  $("count").textContent = found.length ? `${found.length === MOST ? `the last ${MOST}` : found.length} events, the newest first` : "No events yet.";
  say(`${found.length} events${user ? ` of ${user}` : ""}.`);
}

frame("Events");
$("who").onsubmit = (event) => { event.preventDefault(); guard(show); };
await guard(show);
