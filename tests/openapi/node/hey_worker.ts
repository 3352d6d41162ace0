// A feed worker on a client by @hey-api/openapi-ts.
import { client } from "./hey/client.gen.js";
import { getEventsExport, getRecommendations, postContentBatch, postInteractions, postRank, postSearch, postV1Embeddings, putContent } from "./hey/sdk.gen.js";

client.setConfig({ baseUrl: process.argv[2] });

const stored = await putContent({ path: { id: "gen-barn" }, body: { text: "an oak barn" } });
const batch = await postContentBatch({ body: [{ id: "gen-hall", title: "Hall", tags: ["grand"] }, { id: "gen-tent", text: "a tent" }] });
const event = await postInteractions({ body: { user_id: "gen-ann", content_id: "gen-barn", type: "save" } });
const ranked = await postRank({ body: { user_id: "gen-ann", candidates: ["gen-hall", "gen-tent"] } });
const found = await postSearch({ body: { text: "somewhere to dance" } });
const feed = await getRecommendations({ path: { id: "gen-ann" }, query: { top_k: 2, category: ["venue"] } });
const vectors = await postV1Embeddings({ body: { model: "sentence-bert-v1", input: ["a", "b"] } });
const refused = await postInteractions({ body: { user_id: "gen-ann", content_id: "nowhere", type: "view" } });
const problem = refused.error as { error: { field?: string | null } } | undefined;
if (!problem) throw new Error("unknown content was stored");
const log = await getEventsExport({ query: { user_id: "gen-ann" }, parseAs: "text" });

console.log(JSON.stringify({
  stored: stored.data!.status, batch: batch.data!, event: event.data!.stored, ranked: ranked.data!.ranked.map((one) => one.id),
  found: found.data!.results.length, feed: feed.data!.matched, vectors: vectors.data!.data.length,
  refused: problem.error.field, log: String(log.data).split("\n").length - 1,
}));
