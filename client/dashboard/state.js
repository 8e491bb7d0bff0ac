// What is shown, as the page's query holds it: a link shows the same to everybody.
import { INTERVALS, PRESETS } from "./ranges.js";

export const SERIES = ["all", "view", "click", "location", "users"];

const BROWSER_ZONE = isZone(Intl.DateTimeFormat().resolvedOptions().timeZone)
  ? Intl.DateTimeFormat().resolvedOptions().timeZone
  : "UTC";
const USUAL = { range: "30d", from: "", to: "", compare: "on", tz: BROWSER_ZONE, site: "1", interval: "auto", series: "all" };
const IS_VALID = {
  range: (value) => value in PRESETS,
  from: isMoment,
  to: isMoment,
  compare: (value) => value === "on" || value === "off",
  tz: isZone,
  site: isSite,
  interval: (value) => value === "auto" || value in INTERVALS,
  series: (value) => SERIES.includes(value),
};

// What is not valid is as if it were left out: the query is written anew, so that it says what is shown.
export function readState(query) {
  const given = new URLSearchParams(query);
  const state = { ...USUAL };
  for (const name of Object.keys(USUAL)) {
    const value = given.get(name);
    if (value !== null && IS_VALID[name](value)) state[name] = value;
  }
  if (state.range === "custom" && !(state.from && state.to)) state.range = USUAL.range;
  return state;
}

export function writeState(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if ((name === "from" || name === "to") && state.range !== "custom") continue;
    // The zone always: elsewhere another one is the usual.
    if (value !== USUAL[name] || name === "tz") query.set(name, value);
  }
  // Colons and slashes may stand in a query.
  return `?${query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
}

export function zones(chosen) {
  return [...new Set(["UTC", BROWSER_ZONE, chosen, ...Intl.supportedValuesOf("timeZone")])].sort();
}

export function isSite(value) {
  return /^[1-9]\d{0,4}$/.test(value) && Number(value) <= 32_767;
}

function isMoment(value) {
  return /^\d{4}-\d\d-\d\d(T\d\d:\d\dZ)?$/.test(value) && !Number.isNaN(Date.parse(value));
}

function isZone(value) {
  if (!/^[A-Z][\w+-]*(\/[\w+-]+)*$/.test(value) || value === "Etc/Unknown") return false;
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: value }));
  } catch {
    return false;
  }
}
