// A feed worker on types by openapi-typescript: only what is needed is sent.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });

const stored = await client.PUT("/content/{id}", { params: { path: { id: "gen-barn" } }, body: { text: "an oak barn" } });
const batch = await client.POST("/content/batch", { body: [{ id: "gen-hall", title: "Hall", tags: ["grand"] }, { id: "gen-tent", text: "a tent" }] });
const event = await client.POST("/interactions", { body: { user_id: "gen-ann", content_id: "gen-barn", type: "save" } });
const ranked = await client.POST("/rank", { body: { user_id: "gen-ann", candidates: ["gen-hall", "gen-tent"] } });
const found = await client.POST("/search", { body: { text: "somewhere to dance" } });
const feed = await client.GET("/user/{id}/recommendations", { params: { path: { id: "gen-ann" }, query: { top_k: 2, category: ["venue"] } } });
const vectors = await client.POST("/v1/embeddings", { body: { model: "sentence-bert-v1", input: ["a", "b"] } });
const refused = await client.POST("/interactions", { body: { user_id: "gen-ann", content_id: "nowhere", type: "view" } });
if (!refused.error) throw new Error("unknown content was stored");
const log = await client.GET("/events/export", { params: { query: { user_id: "gen-ann" } }, parseAs: "text" });

console.log(JSON.stringify({
  stored: stored.data!.status, batch: batch.data!, event: event.data!.stored, ranked: ranked.data!.ranked.map((one) => one.id),
  found: found.data!.results.length, feed: feed.data!.matched, vectors: vectors.data!.data.length,
  refused: refused.error.error.field, log: log.data!.split("\n").length - 1,
}));
