// Requests to the server: JSON in and out, timed, with a key where one is asked for.

export const ROOT = new URL("..", import.meta.url);
let key = sessionStorage.getItem("key") ?? "";
const heard = [];

/** Calls `listener` with {method, url, body, withKey, ms, stages} after each request; stages are milliseconds. */
export const onAnswer = (listener) => heard.push(listener);

/** The decoded answer; with `lines`, an array of the JSON values on its lines. Throws an Error with the server's message
 * for anything but success. A `quiet` request is not shown. */
export async function ask(method, path, body, { quiet = false, lines = false } = {}) {
  const headers = {}, url = new URL(path, ROOT).href;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const started = performance.now();
  const response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  const ms = performance.now() - started;
  if (response.status === 401) {
    key = await askForKey();
    sessionStorage.setItem("key", key);
    return ask(method, path, body, { quiet, lines });
  }
  if (!response.ok) throw new Error(messageOf(text) ?? `the server answered ${response.status}`);
  if (!quiet) heard.forEach((listener) => listener({ method, url, body, withKey: key !== "", ms, stages: stagesOf(response) }));
  if (lines) return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return text ? JSON.parse(text) : null;
}

/** The path of a user's resource. */
export const userPath = (user, resource = "") => `user/${encodeURIComponent(user)}${resource && `/${resource}`}`;

/** Float32Array of a vector in base64. */
export function vector(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function messageOf(text) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return undefined;
  }
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
