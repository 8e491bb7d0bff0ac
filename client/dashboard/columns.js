// The columns of the chart, of its table too: a label, a start, a value and the value before for each bucket.
import { MINUTE, startOfDay } from "./ranges.js";

export const NAMES = { all: "All events", view: "Views", click: "Clicks", location: "Locations", users: "Active users" };

const AHEAD = 5 * MINUTE; // as far as an event's time may be

// `overTime` is what event-counts-over-time answered, `before` the same of the period before, `users` what active-users did.
export function columnsOf(series, { overTime, before, users }, { now, state: { tz } }) {
  if (series === "users") {
    const labels = users.days.map(({ date }) => date);
    const values = users.days.map(({ active_users: number }) => number);
    return cut({ labels, starts: labels.map((date) => startOfDay(date, tz)), values, before: null, interval: "day" }, now);
  }
  const starts = overTime.buckets.map((start) => Date.parse(start));
  const { buckets: labels, interval } = overTime;
  const earlier = before && pad(valuesOf(before, series), labels.length);
  return cut({ labels, starts, values: valuesOf(overTime, series), before: earlier, interval }, now);
}

function valuesOf({ buckets, series }, chosen) {
  if (chosen !== "all") return series[chosen].length ? series[chosen] : buckets.map(() => 0);
  return buckets.map((_, place) => Object.values(series).reduce((sum, values) => sum + (values[place] ?? 0), 0));
}

// The period before may have a bucket more or less, by a change of the clock or the length of a month.
const pad = (values, length) => Array.from({ length }, (_, place) => values[place] ?? null);

// What is still to come is not 0 yet.
const cut = (columns, now) => ({
  ...columns,
  values: columns.values.map((value, place) => (columns.starts[place] > now + AHEAD ? null : value)),
});
