// Catalogues to try the server with. Each has a module with its words and pictures, and two files of data.

import { ask, ROOT, userPath } from "./server.js";

// `mark`: an item that only this catalogue has.
export const SAMPLES = [{ name: "wedding", module: "./wedding.js", mark: "hollow-creek-barn" }];
const BATCH = 10; // small enough that progress is seen

/** Words, users and pictures of the sample that the items are from, or null. */
export async function dressFor(items) {
  const sample = SAMPLES.find(({ mark }) => items.some(({ id }) => id === mark));
  return sample ? import(sample.module) : null;
}

/** Store the sample's items, and what its users did. `progress` gets the number of items done, and of all. */
export async function loadSample({ name }, progress) {
  const [items, journeys] = await Promise.all(["catalogue", "journeys"].map(async (part) =>
    (await fetch(new URL(`page/${name}-${part}.json`, ROOT))).json()));
  for (let done = 0; done < items.length; done += BATCH) {
    progress(done, items.length);
    accepted(await ask("POST", "content/batch", items.slice(done, done + BATCH)));
  }
  for (const { user_id, preferences, chapters } of journeys) {
    await ask("DELETE", userPath(user_id)); // the same events at other times would be a conflict
    if (preferences) await ask("PUT", userPath(user_id, "preferences"), { preferences });
    const events = chapters.flatMap(({ events }) => events).map(({ days_ago, ...event }) =>
      ({ ...event, user_id, timestamp: new Date(Date.now() - days_ago * 86_400_000).toISOString() }));
    if (events.length) accepted(await ask("POST", "interactions", events));
  }
}

function accepted({ results }) {
  const refused = results.find(({ status }) => status === "rejected");
  if (refused) throw new Error(refused.error.message);
}
