// How many events there were in the last five minutes: asked again and again while somebody can see it.
import { ask } from "./api.js";
import { count } from "./format.js";
import { MINUTE } from "./ranges.js";

const EVERY_SECONDS = 5;
const shown = document.getElementById("live");
let controller = new AbortController();
let site = null;

export function showLiveOf(chosen) {
  if (site === chosen) return;
  site = chosen;
  start();
}

document.addEventListener("visibilitychange", () => (document.hidden ? controller.abort() : site && start()));

function start() {
  controller.abort();
  controller = new AbortController();
  if (!document.hidden) repeat(controller.signal);
}

async function repeat(signal) {
  const start_date = new Date(Date.now() - 5 * MINUTE).toISOString();
  const query = new URLSearchParams({ start_date, site });
  try {
    const { total_events: number } = await ask(`analytics/event-counts?${query}`, signal);
    if (!signal.aborted) tell(number);
  } catch {
    if (!signal.aborted) tell(null);
  }
  if (signal.aborted) return;
  const timer = setTimeout(() => repeat(signal), EVERY_SECONDS * 1000);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

// The dot blinks when the number changes: an animation without an end would keep the computer at work.
function tell(number) {
  const told = shown.querySelector("b");
  const text = number === null ? "–" : count(number);
  shown.toggleAttribute("data-changed", text !== told.textContent);
  told.textContent = text;
  shown.querySelector(".what").textContent = number === 1 ? "event in the last 5 minutes" : "events in the last 5 minutes";
  shown.toggleAttribute("data-active", number > 0);
}
