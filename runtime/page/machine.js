// The panel of the machine: memory against its limit, and the times of the last requests.

import { latencyPlot, memoryPlot } from "./charts.js";
import { $ } from "./dom.js";
import { ask, onAnswer } from "./server.js";

const INFO_EVERY_MS = 2000;
const memory = memoryPlot($("memory-plot")), latency = latencyPlot($("latency-plot"));

onAnswer((answer) => {
  $("last").textContent = new URL(answer.url).pathname.split("/").at(-1);
  $("latency").textContent = latency(answer);
});

async function look() {
  if (document.hidden) return;
  const info = await ask("GET", "info", undefined, { quiet: true });
  $("memory").textContent = memory(info.memory);
  const { model_version, encoding } = info.models[0];
  $("model").textContent = `${model_version}, ${encoding} weights · ${info.stored.content} items, ${info.stored.interactions} interactions`;
}

export function watchMachine() {
  const trying = () => look().catch(() => { $("memory").textContent = "the server does not answer"; });
  trying();
  setInterval(trying, INFO_EVERY_MS);
}
