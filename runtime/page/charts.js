// The three pictures at the side: the plane of styles, memory against its line, the last requests.

import { svg } from "./dom.js";

const says = (chart, text) => { chart.querySelector("title").textContent = text; };

/** Where a point of the plane, −1 to 1, lies on the plot of 400 × 300. */
const place = ([x, y]) => [200 + x * 172, 150 - y * 124];

/** Draw items and styles once; the parts that move come back as functions. */
export function stylePlot(chart, items, styles, project, colourOf, onPick) {
  while (chart.lastChild.nodeName !== "title") chart.lastChild.remove();
  chart.append(svg("path", { class: "axis", d: "M200 10v280M10 150h380" }));
  const dots = new Map();
  for (const item of items) {
    const [cx, cy] = place(project(item.vector));
    const dot = svg("circle", { class: "dot", cx, cy, r: 4.5, fill: colourOf(item) }, svg("title"));
    dot.firstChild.textContent = item.title;
    dot.onclick = () => onPick(item);
    dots.set(item.id, dot);
    chart.append(dot);
  }
  const taken = []; // names that would overlap are left out, the most frequent styles come first
  for (const { name, vector } of styles) {
    const [x, y] = place(project(vector)).map((at, axis) => Math.max(axis ? 16 : 40, Math.min(axis ? 288 : 360, at)));
    const half = name.length * 3.4;
    if (taken.some(([tx, ty, th]) => Math.abs(tx - x) < th + half && Math.abs(ty - y) < 14)) continue;
    taken.push([x, y, half]);
    const label = svg("text", { class: "style", x, y });
    label.textContent = name;
    chart.append(label);
  }
  const trail = svg("path", { class: "trail" }), words = svg("path", { class: "words" });
  const you = svg("g", { class: "you" }, svg("path", { d: "M0 9-9-1A5.6 5.6 0 0 1 0-7 5.6 5.6 0 0 1 9-1z" }), svg("text", { y: -12 }));
  you.lastChild.textContent = "you";
  you.style.display = "none";
  chart.append(trail, words, you);
  let path = [];
  return {
    forget: () => { path = []; trail.setAttribute("d", ""); },
    moveTo(vector, sentence) {
      const [x, y] = place(project(vector));
      path = [...path.slice(-30), [x, y]];
      trail.setAttribute("d", path.map(([px, py], n) => `${n ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join(""));
      you.style.display = "";
      you.style.transform = `translate(${x}px, ${y}px)`;
      says(chart, sentence);
    },
    mark(vector) {
      const [x, y] = place(project(vector));
      words.setAttribute("d", `M${x} ${y - 11}l3 7 8 1-6 5 2 8-7-4-7 4 2-8-6-5 8-1z`);
    },
    top: (ids) => dots.forEach((dot, id) => { const on = ids.includes(id); dot.classList.toggle("top", on); dot.setAttribute("r", on ? 6.5 : 4.5); }),
    light: (id, on) => dots.get(id)?.classList.toggle("lit", on),
  };
}

/**
 * Taste as a path over weeks, the last one in the middle. Distances are true: of each week to the one before it and to now,
 * √(2 − 2 cos), so that each triangle of two neighbouring weeks and now is drawn as it is; it turns left all the way.
 */
export function weeksPlot(chart, weeks) {
  while (chart.lastChild.nodeName !== "title") chart.lastChild.remove();
  const known = weeks.filter((week) => week.to_now !== null), apart = (cos) => (cos > 1 - 1e-6 ? 0 : Math.sqrt(2 - 2 * cos));
  const points = [];
  let angle = Math.PI * 0.8;
  for (let n = known.length - 1; n >= 0; n--) {
    const radius = apart(known[n].to_now), next = points[0], later = known[n + 1];
    if (next?.radius && radius && later.to_previous !== null) {
      const cos = (radius ** 2 + next.radius ** 2 - apart(later.to_previous) ** 2) / (2 * radius * next.radius);
      angle -= Math.acos(Math.max(-1, Math.min(1, cos)));
    }
    points.unshift({ radius, x: radius * Math.cos(angle), y: radius * Math.sin(angle), week: known[n] });
  }
  if (!points.length) return says(chart, "No history yet");
  const most = Math.max(...points.map(({ radius }) => radius)) || 1;
  const at = ({ x, y }) => [200 + (x / most) * 150, 100 - (y / most) * 84];
  chart.append(svg("path", { class: "trail", d: "M" + points.map((point) => at(point).map((v) => v.toFixed(1)).join(" ")).join("L") }));
  points.forEach((point, n) => {
    const [cx, cy] = at(point), { ends_at, interactions, to_now } = point.week, last = n === points.length - 1;
    const dot = svg("circle", { class: last ? "week-now" : "week", cx, cy, r: 3.5 + Math.min(6, Math.sqrt(interactions)) }, svg("title"));
    dot.firstChild.textContent = `week to ${ends_at.slice(0, 10)}: ${interactions} interactions, cosine to now ${to_now.toFixed(2)}`;
    chart.append(dot);
    if (!last && n) return;
    const label = svg("text", { class: "style", x: Math.max(40, Math.min(360, cx)), y: cy > 100 ? cy + 24 : cy - 14 });
    label.textContent = last ? "now" : ends_at.slice(0, 10);
    chart.append(label);
  });
  says(chart, `${points.length} weeks; the first has cosine ${known[0].to_now.toFixed(2)} to now`);
}

const MIB = 1 << 20, LIMIT_MIB = 256, TOP_MIB = 300;

/** Memory over time: anonymous, file-backed on top of it, and the limit. */
export function memoryPlot(chart) {
  const seen = [], y = (mib) => 90 - (Math.min(mib, TOP_MIB) / TOP_MIB) * 84;
  const file = svg("path", { class: "file" }), anonymous = svg("path", { class: "anonymous" });
  const text = svg("text", { class: "limit-text", x: 2, y: y(LIMIT_MIB) - 4 });
  text.textContent = "256 MiB";
  chart.append(file, anonymous, svg("path", { class: "limit", d: `M0 ${y(LIMIT_MIB)}h400` }), text, svg("path", { class: "axis", d: "M0 90h400" }));
  const area = (key) => {
    const step = 400 / 59, start = 400 - (seen.length - 1) * step;
    return `M${start} 90` + seen.map((one, n) => `L${start + n * step} ${y(one[key])}`).join("") + "L400 90z";
  };
  return ({ rss_bytes, anonymous_bytes }) => {
    seen.push({ rss: rss_bytes / MIB, anonymous: anonymous_bytes / MIB });
    if (seen.length === 1) seen.push(seen[0]);
    if (seen.length > 60) seen.shift();
    file.setAttribute("d", area("rss"));
    anonymous.setAttribute("d", area("anonymous"));
    const { rss, anonymous: own } = seen.at(-1);
    says(chart, `${rss.toFixed(0)} of 256 MiB are resident, ${own.toFixed(0)} MiB of them anonymous`);
    return `${rss.toFixed(0)} MiB, of it ${own.toFixed(0)} anonymous`;
  };
}

/** A bar a request, the newest at the right: model, storage, the rest of the server, and the way there and back. */
export function latencyPlot(chart) {
  const seen = [], bars = svg("g"), tick = svg("text", { class: "tick", x: 2, y: 11 });
  chart.append(bars, svg("path", { class: "axis", d: "M0 70h400" }), tick);
  return ({ ms, stages }) => {
    const { infer = 0, store = 0, total = 0, queue = 0 } = stages;
    seen.push({ infer: infer + queue, store, rest: Math.max(0, total - infer - store - queue), wire: Math.max(0, ms - total), ms });
    if (seen.length > 40) seen.shift();
    const high = Math.max(10, ...seen.map((one) => one.ms));
    tick.textContent = `${high.toFixed(0)} ms`;
    bars.replaceChildren(...seen.flatMap((one, n) => {
      let y = 70;
      return ["infer", "store", "rest", "wire"].map((kind) => {
        const height = (one[kind] / high) * 66;
        y -= height;
        return svg("rect", { class: kind, x: 400 - (seen.length - n) * 10, y, width: 8, height });
      });
    }));
    const last = seen.at(-1);
    says(chart, `The last request took ${last.ms.toFixed(1)} ms, ${total.toFixed(1)} of them in the server`);
    return `${total.toFixed(1)} of ${last.ms.toFixed(1)} ms in the server`;
  };
}
