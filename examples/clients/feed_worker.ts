// A feed worker: recommends to users, and records what they then do. `node feed_worker.js URL USER [USER …]`

const [url, ...users] = process.argv.slice(2);
const key = ""; // of VOWS_API_KEYS, where the server has some

interface Recommendations { results: { id: string; score: number }[] }
interface Stored { stored: number; duplicates: number; rejected: number }

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  for (let tries = 0; tries < 5; tries++) {
    const answer = await fetch(url + path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
    if (answer.ok) return (await answer.json()) as T;
    if (![429, 503].includes(answer.status)) throw new Error(`${method} ${path}: ${await answer.text()}`);
    // The server says when there is room again.
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
  }
  throw new Error(`${method} ${path}: the server stays busy`);
}

for (const user of users) {
  const path = `/user/${encodeURIComponent(user)}/recommendations?top_k=3`;
  const feed = (await call<Recommendations>("GET", path)).results.map((one) => one.id);
  // The event_id makes it safe to send this again: it is stored once.
  const shown = feed.map((id) => ({ user_id: user, content_id: id, type: "view", event_id: `${user}-saw-${id}` }));
  const stored = shown.length ? (await call<Stored>("POST", "/interactions", shown)).stored : 0;
  console.log(JSON.stringify({ user, feed, stored }));
}
export {};
