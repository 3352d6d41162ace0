// Experiments: the interval of the lift over time, sample ratio, guardrails, the decision, and buttons.

import { svg } from "./dom.js";
import { frame } from "./frame.js";
import { ask } from "./server.js";

const WIDTH = 640, HEIGHT = 200, LEFT = 52, CLIP = 3; // lifts beyond ±CLIP are drawn at the edge
const EVERY_MS = 3000;
const list = document.getElementById("list");

const percent = (value, sign = true) => value === null || value === undefined ? "?" : `${sign && value > 0 ? "+" : ""}${(value * 100).toFixed(1)} %`;
const count = (value) => value.toLocaleString("en");
const range = ([low, high]) => `${percent(low)} to ${high === null ? "∞" : percent(high)}`;

function element(name, text = "", attributes = {}, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The interval of one treatment's lift over time, with 0 and the least lift. */
function chart(found, treatment) {
  const points = found.series.filter((point) => point.closed);
  const drawn = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, svg("title"));
  const { name } = found.arms[treatment + 1];
  drawn.firstChild.textContent = `Lift of ${name} over time: ${range(found.arms[treatment + 1].lift_interval)} now`;
  if (points.length < 2) return drawn;
  const ends = points.map((point) => point.intervals[treatment].map((end) => Math.min(end ?? CLIP, CLIP)));
  const late = ends.slice(Math.floor(ends.length / 4)).flat(); // the first intervals say little and would flatten the rest
  const low = Math.min(-0.1, ...late), high = Math.max(0.1, found.definition.min_lift * 1.2, ...late);
  const x = (n) => LEFT + (n * (WIDTH - LEFT - 4)) / (points.length - 1);
  const y = (lift) => 8 + ((high - Math.max(low, Math.min(high, lift))) * (HEIGHT - 16)) / (high - low);
  const along = (values) => values.map((value, n) => `${x(n).toFixed(1)} ${y(value).toFixed(1)}`);
  const upper = along(ends.map(([, end]) => end)), lower = along(ends.map(([end]) => end)).reverse();
  drawn.append(svg("path", { class: "band", d: `M${[...upper, ...lower].join("L")}z` }));
  drawn.append(svg("path", { class: "found", d: `M${along(points.map((point) => point.lifts[treatment] ?? 0)).join("L")}` }));
  for (const [lift, kind] of [[0, "zero"], [found.definition.min_lift, "limit"]]) {
    drawn.append(svg("path", { class: kind, d: `M${LEFT} ${y(lift)}H${WIDTH}` }));
  }
  for (const lift of [low, 0, high]) {
    const label = svg("text", { class: "tick", x: LEFT - 6, y: y(lift) + 4, "text-anchor": "end" });
    label.textContent = percent(lift);
    drawn.append(label);
  }
  return drawn;
}

function armsTable(found) {
  const head = ["arm", "model", "users", "windows over", "engaged", "lift", "interval", "users needed"];
  const rows = found.arms.map((arm, n) => element("tr", "", {}, ...[
    arm.name, arm.model, count(arm.users), count(arm.closed),
    arm.closed ? `${count(arm.engaged)} (${percent(arm.engaged / arm.closed, false)})` : "0",
    n ? percent(arm.lift) : "", n ? range(arm.lift_interval) : "", n ? (arm.users_needed == null ? "?" : count(arm.users_needed)) : "",
  ].map((text) => element("td", text))));
  return element("div", "", { class: "wide" }, element("table", "", {}, element("tr", "", {}, ...head.map((text) => element("th", text))), ...rows));
}

function checks(found) {
  const { p, mismatch, observed, expected } = found.sample_ratio;
  const [seen, planned] = [observed, expected].map((shares) => shares.map((share) => percent(share, false)).join(" : "));
  const ratio = `Sample ratio ${seen} (expected ${planned}), p ${p.toPrecision(2)}${mismatch ? ": a mismatch, which blocks promotion" : ""}`;
  const lines = [element("p", ratio, { class: mismatch ? "bad" : "note" })];
  for (const arm of found.arms.slice(1)) {
    for (const rail of arm.guardrails ?? []) {
      const seen = rail.observed === null ? "nothing seen yet" : rail.observed.toPrecision(3);
      const text = `${arm.name}, ${rail.name.replaceAll("_", " ")}: ${seen}, limit ${rail.limit}${rail.violated ? ": violated" : ""}`;
      lines.push(element("p", text, { class: rail.violated ? "bad" : "note" }));
    }
  }
  return lines;
}

function buttons(found) {
  const act = (label, path) => {
    const button = element("button", label, { type: "button" });
    button.onclick = () => change(`experiments/${found.name}/${path}`, `${label}: ${found.name}`);
    return button;
  };
  const made = [];
  if (found.state === "running") made.push(act("Stop", "stop"));
  if (["running", "stopped"].includes(found.state)) {
    for (const arm of found.arms.slice(1)) made.push(act(`Promote ${arm.name}`, `promote?arm=${encodeURIComponent(arm.name)}`));
  }
  if (found.state === "promoted") made.push(act("Roll back", "rollback"));
  return element("div", "", { class: "buttons" }, ...made);
}

function panel(found) {
  const state = `${found.state.replace("_", " ")}${found.promoted_arm ? ` (${found.promoted_arm})` : ""}${found.reason ? `: ${found.reason}` : ""}`;
  return element("section", "", { class: "panel", "data-name": found.name },
    element("h2", found.name), element("p", state, { class: "state" }),
    element("p", `The counts say: ${found.decision}; ${found.decision_reason}`, { class: "note decision" }),
    ...found.arms.slice(1).map((_, n) => chart(found, n)), armsTable(found), ...checks(found), buttons(found));
}

async function change(path, says) {
  try {
    await ask("POST", path);
    document.getElementById("say").textContent = says;
  } catch (error) {
    alert(error.message);
  }
  document.activeElement?.blur();
  await show();
}

async function show() {
  const { model, experiments } = await ask("GET", "experiments");
  const found = await Promise.all(experiments.map(({ name }) => ask("GET", `experiments/${name}`)));
  document.getElementById("in-force").textContent = `Users in no experiment get ${model ?? "the default model"}.`;
  document.getElementById("none").hidden = found.length > 0;
  if (!list.contains(document.activeElement)) list.replaceChildren(...found.reverse().map(panel)); // a button in use stays
}

/** Again and again, one at a time, also while a key is asked for. */
async function watch() {
  if (!document.hidden) await show().catch(() => {});
  setTimeout(watch, EVERY_MS);
}

frame("Experiments");
await watch();
