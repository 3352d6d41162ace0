// Requests to the server: JSON in and out, timed, with a key where one is asked for.

let key = sessionStorage.getItem("key") ?? "";
const heard = [];

/** Calls `listener` with {path, ms, stages} after each request; stages are milliseconds from Server-Timing. */
export const onAnswer = (listener) => heard.push(listener);

/** The decoded answer. Throws an Error with the server's message for anything but success. */
export async function ask(method, path, body, { quiet = false } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const started = performance.now();
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  const ms = performance.now() - started;
  if (response.status === 401) {
    key = await askForKey();
    sessionStorage.setItem("key", key);
    return ask(method, path, body, { quiet });
  }
  const answer = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Error(answer?.error?.message ?? `the server answered ${response.status}`);
  if (!quiet) heard.forEach((listener) => listener({ path, ms, stages: stagesOf(response) }));
  return answer;
}

/** Float32Array of a vector in base64. */
export function vector(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function stagesOf(response) {
  const found = (response.headers.get("Server-Timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  return Object.fromEntries([...found].map(([, name, ms]) => [name, Number(ms)]));
}

let asking = null; // several requests may be refused at once; one dialog answers them all

function askForKey() {
  const dialog = document.getElementById("key");
  asking ??= new Promise((resolve) => {
    dialog.showModal();
    dialog.onclose = () => {
      asking = null;
      resolve(document.getElementById("key-text").value.trim());
    };
  });
  return asking;
}
