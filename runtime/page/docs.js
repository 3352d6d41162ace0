// Sends the forms of /docs to this server, and writes its address, as the browser knows it, into the examples.

const ROOT = new URL("..", import.meta.url);
const key = document.getElementById("key-text");

for (const place of document.querySelectorAll(".base")) place.textContent = ROOT.href.replace(/\/$/, "");
key.value = sessionStorage.getItem("key") ?? "";
key.oninput = () => sessionStorage.setItem("key", key.value.trim());
document.getElementById("key").onsubmit = (event) => event.preventDefault();

/** Path and query, with what was entered. */
function addressOf(form) {
  const path = form.dataset.path.slice(1).replace("{id}", () => encodeURIComponent(form.elements.id.value));
  const query = [...form.querySelectorAll("[data-query]")].filter(({ value }) => value !== "").flatMap(({ name, value, dataset }) =>
    (dataset.query === "many" ? value.split(",") : [value]).map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`));
  return new URL(path + (query.length ? `?${query.join("&")}` : ""), ROOT);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text; // lines of JSON, metrics, a page
  }
}

async function send(form) {
  const headers = {}, { method, media } = form.dataset, shown = form.nextElementSibling;
  if (media) headers["Content-Type"] = media;
  if (key.value.trim()) headers.Authorization = `Bearer ${key.value.trim()}`;
  const started = performance.now();
  try {
    const response = await fetch(addressOf(form), { method, headers, body: media ? form.elements.body.value : undefined });
    const text = await response.text();
    shown.textContent = `${response.status} ${response.statusText}, ${(performance.now() - started).toFixed(0)} ms\n\n${pretty(text)}`;
  } catch (error) {
    shown.textContent = error.message;
  }
  shown.hidden = false;
}

for (const form of document.querySelectorAll(".send form")) form.onsubmit = (event) => { event.preventDefault(); send(form); };
