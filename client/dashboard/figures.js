// The headline figures: counts by type, the number of users, and what they were in the period before.
import { count, day, percent } from "./format.js";
import { addDays, localTime } from "./ranges.js";

const section = document.getElementById("figures");
const nothing = document.getElementById("nothing");
export const BY_TYPE = "analytics/event-counts-by-type";
const ARROWS = { "-1": "↓ ", 0: "", 1: "↑ " };
const USERS = "analytics/active-users";

export const figures = {
  section,

  async load(view, get) {
    const [counts, before] = await Promise.all([
      get(BY_TYPE, view.query()),
      view.previous && get(BY_TYPE, view.query(view.previous)),
    ]);
    const isEmpty = totalOf(counts) === 0;
    const latest = isEmpty ? await latestOf(view, get) : null;
    // A first event of today hides all those that are long ago, such as the sample data.
    const isNew = !isEmpty && before && totalOf(before) === 0;
    const older = isNew ? await latestOf(view, get, { end_date: view.previous.end, tz: view.state.tz }) : null;
    return { counts, before, isEmpty, latest, older };
  },

  show({ counts, before, isEmpty, latest, older }, view) {
    for (const type of ["view", "click", "location"]) {
      showFigure(type, counts[type] ?? 0, before && (before[type] ?? 0));
    }
    showFigure("all", totalOf(counts), before && totalOf(before));
    nothing.hidden = !isEmpty && !older;
    if (isEmpty) nothing.replaceChildren(...nothingThere(latest, view));
    else if (older) nothing.replaceChildren(...leadTo(older, "The latest event before is", view));
  },
};

export const users = {
  section: document.getElementById("users"),

  load(view, get) {
    return Promise.all([
      view.state.series === "users" ? usersByDay(view, get) : get(USERS, view.query()),
      view.previous && get(USERS, view.query(view.previous)),
    ]);
  },

  show([{ active_users: number }, before]) {
    showFigure("users", number, before && before.active_users);
  },
};

// Each day costs as much again as the whole range, so only who wants to see them asks for them.
export const usersByDay = (view, get) => get(USERS, { ...view.query(), interval: "day" });

export function markChosen(series) {
  for (const button of section.querySelectorAll("[data-series]")) {
    button.setAttribute("aria-pressed", button.dataset.series === series);
  }
}

const latestOf = async (view, get, until) => (await get("events", { site: view.state.site, limit: 1, ...until })).events[0];

const totalOf = (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0);

function showFigure(series, number, before) {
  const button = section.querySelector(`[data-series=${series}]`);
  button.querySelector(".value").textContent = count(number);
  const told = button.querySelector(".change");
  const ratio = before ? number / before - 1 : 0;
  // Less than half a percent is neither up nor down.
  const direction = Math.sign(Math.round(ratio * 100));
  told.dataset.direction = direction;
  if (before === null) told.textContent = "";
  else if (!before) told.textContent = "none before";
  else told.replaceChildren(delta(`${ARROWS[direction]}${percent(ratio)}`), ` from ${count(before)}`);
}

const delta = (textContent) => Object.assign(document.createElement("span"), { className: "delta", textContent });

// Where events are, if they are not here: with sample data, or a clock that is elsewhere.
function nothingThere(latest, view) {
  const none = "There are no events at this site yet. ";
  if (latest) return leadTo(latest, "No events in this range. The latest is", view);
  // The demo's are of the first site.
  return view.state.site === "1" ? [none, anchor("../demo/", "The demo"), " sends some."] : [none];
}

function leadTo({ timestamp }, what, { state, link }) {
  const date = localTime(Date.parse(timestamp), state.tz).slice(0, 10);
  const there = link({ range: "custom", from: addDays(date, -29), to: date });
  return [`${what} of ${day(date)}: `, anchor(there, "show the 30 days up to it"), "."];
}

function anchor(href, text) {
  return Object.assign(document.createElement("a"), { href, textContent: text });
}
