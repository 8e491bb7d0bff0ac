// The form that says what is counted.
import { localTime, INTERVALS, isInstant, isTooFine, neighbourOf, PRESETS } from "./ranges.js";
import { isSite, zones } from "./state.js";

const form = document.getElementById("controls");
const custom = document.getElementById("custom");
const steps = form.querySelectorAll(".steps button");
const { range, compare, tz, site, interval, from, to } = form.elements;

range.append(...Object.entries(PRESETS).map(([value, text]) => new Option(text, value)));
interval.append(new Option("what fits", "auto"));
interval.append(...Object.keys(INTERVALS).map((value) => new Option(value.replace("_", " "), value)));

export function showControls(view) {
  const { state } = view;
  const listed = zones(state.tz).map((name) => new Option(name.replaceAll("_", " "), name));
  if (tz.options.length !== listed.length) tz.replaceChildren(...listed);
  for (const input of [range, tz, site, interval]) input.value = state[input.name];
  compare.checked = state.compare === "on";
  compare.disabled = !view.range.start;
  for (const step of steps) step.disabled = !neighbourOf(view.range, Number(step.value), state, view.now);
  custom.hidden = state.range !== "custom";
  if (view.range.start) showDates(view);
  for (const option of interval.options) option.disabled = isTooFine(option.value, view.range.length);
}

function showDates({ range: { start, end }, state }) {
  const date = (moment) => (isInstant(moment) ? localTime(Date.parse(moment), state.tz).slice(0, 10) : moment);
  from.value = date(start);
  to.value = date(end);
}

// Calls back with what somebody changed.
export function onChange(navigate) {
  document.addEventListener("change", ({ target }) => {
    if (target.form !== form || target === from || target === to) return;
    if (target === range && range.value === "custom") openCustom();
    else if (target === compare) navigate({ compare: compare.checked ? "on" : "off" });
    else if (target !== site || isSite(site.value)) navigate({ [target.name]: target.value });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (custom.hidden || !isSite(site.value)) return;
    navigate({ range: "custom", from: from.value, to: to.value, site: site.value });
  });
}

// Calls back with the direction.
export function onStep(step) {
  for (const button of steps) button.addEventListener("click", () => step(Number(button.value)));
}

function openCustom() {
  custom.hidden = false;
  from.focus();
}
