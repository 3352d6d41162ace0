// Items of the server's catalogue: the first ones are loaded at once, others as they are met.

import { ask, vector } from "./server.js";

export const MOST_ITEMS = 400;
const byId = new Map();

/** The first items of the catalogue, up to MOST_ITEMS; hidden ones are left out. */
export async function loadItems() {
  let next = 0;
  const items = [];
  while (next !== null && items.length < MOST_ITEMS) {
    const page = await ask("GET", `content?limit=100&after=${next}&encoding_format=base64`);
    items.push(...page.items.filter((item) => !item.hidden).map((item) => kept({ ...item, embedding: vector(item.embedding) })));
    next = page.next;
  }
  return items.slice(0, MOST_ITEMS);
}

/** Items by id, in that order. Those that are not stored any more are left out. */
export async function itemsOf(ids) {
  const found = await Promise.all(ids.map((id) => byId.get(id)
    ?? ask("GET", `content/${encodeURIComponent(id)}`, undefined, { quiet: true }).then(kept, () => null)));
  return found.filter(Boolean);
}

function kept({ embedding, ...item }) {
  const found = {
    ...item,
    tags: item.tags ?? [],
    title: item.title ?? item.text?.slice(0, 60) ?? item.id,
    kind: item.category ?? item.tags?.[0] ?? "",
    vector: Float32Array.from(embedding),
  };
  byId.set(item.id, found);
  return found;
}
