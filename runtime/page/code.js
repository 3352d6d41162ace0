// A request as code that runs as it is. The key is read from VOWS_KEY; it is never in the code.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function inCurl({ method, url, body, withKey }) {
  const parts = [`curl ${method === "GET" || (method === "POST" && body !== undefined) ? "" : `-X ${method} `}${quoted(url)}`];
  if (withKey) parts.push('-H "Authorization: Bearer $VOWS_KEY"');
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return parts.join(" \\\n  ");
}

export function inPython({ method, url, body, withKey }) {
  const headers = [...(withKey ? ['"Authorization": "Bearer " + os.environ["VOWS_KEY"]'] : []),
    ...(body === undefined ? [] : ['"Content-Type": "application/json"'])];
  return [
    ...(body === undefined ? [] : ["import json"]), ...(withKey ? ["import os"] : []), "import urllib.request", "",
    ...(body === undefined ? [] : [`body = ${literal(body)}`]),
    "request = urllib.request.Request(", `    ${JSON.stringify(url)},`, `    method="${method}",`, `    headers={${headers.join(", ")}},`,
    ...(body === undefined ? [] : ["    data=json.dumps(body).encode(),"]), ")",
    "with urllib.request.urlopen(request) as answer:", "    print(answer.read().decode())",
  ].join("\n");
}

/** A JSON value in Python's syntax. */
function literal(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${literal(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

export function inTypeScript({ method, url, body, withKey }) {
  const headers = [...(withKey ? ["Authorization: `Bearer ${process.env.VOWS_KEY}`"] : []),
    ...(body === undefined ? [] : ['"Content-Type": "application/json"'])];
  return [
    `const answer = await fetch(${JSON.stringify(url)}, {`, `  method: "${method}",`,
    ...(headers.length ? [`  headers: { ${headers.join(", ")} },`] : []),
    ...(body === undefined ? [] : [`  body: JSON.stringify(${JSON.stringify(body)}),`]), "});",
    "if (!answer.ok) throw new Error(await answer.text());", "console.log(await answer.text());",
  ].join("\n");
}
