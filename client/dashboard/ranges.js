// Ranges of time as the API takes them: both ends included, days of a zone or instants. Days are calculated as texts
// (2025-05-28), so that no clock change of a zone comes in between.
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const PRESETS = {
  today: "Today",
  yesterday: "Yesterday",
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
  "90d": "Last 90 days",
  month: "This month",
  "12mo": "Last 12 months",
  all: "All time",
  custom: "From … to …",
};

// How long a bucket is; of a month about.
export const INTERVALS = {
  minute: MINUTE,
  quarter_hour: 15 * MINUTE,
  hour: HOUR,
  day: DAY,
  week: 7 * DAY,
  month: 30 * DAY,
};

const MOST_BUCKETS = 10_000; // of the API
const FITTING = [
  ["minute", 3 * HOUR],
  ["quarter_hour", 12 * HOUR],
  ["hour", 3 * DAY],
  ["day", 100 * DAY],
  ["week", 800 * DAY],
  ["month", Infinity],
];

export const isInstant = (moment) => moment.endsWith("Z");

// Local date and time of a zone: 2025-05-28T09:30:00.
export function localTime(instant, tz) {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short", timeStyle: "medium" });
  return format.format(instant).replace(" ", "T");
}

// The instant at which a day of a zone begins: its clock's difference to UTC then, found in two steps.
export function startOfDay(date, tz) {
  const midnight = Date.parse(date);
  const ahead = (instant) => Date.parse(`${localTime(instant, tz)}Z`) - instant;
  return midnight - ahead(midnight - ahead(midnight));
}

export const addDays = (date, days) => dateOf(Date.parse(date) + days * DAY);

// The same day of another month, or its last where it is shorter.
export function addMonths(date, months) {
  const [year, month, day] = date.split("-").map(Number);
  const last = new Date(Date.UTC(year, month + months, 0)).getUTCDate();
  return dateOf(Date.UTC(year, month - 1 + months, Math.min(day, last)));
}

const dateOf = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 10);

// The range of a state at a moment; that of all time has no ends.
export function rangeOf({ range, from, to, tz }, now) {
  const today = localTime(now, tz).slice(0, 10);
  switch (range) {
    case "today": return days(today, today);
    case "yesterday": return days(addDays(today, -1), addDays(today, -1));
    // To the end of this minute: whole minutes are counted without reading events.
    case "24h": return instants(nextMinute(now) - DAY, nextMinute(now));
    case "month": return days(`${today.slice(0, 7)}-01`, today);
    case "12mo": return days(addMonths(`${today.slice(0, 7)}-01`, -11), today);
    case "all": return {};
    case "custom": return isInstant(from) && isInstant(to)
      ? instants(Date.parse(from), Date.parse(to) + MINUTE)
      : days(localDate(from, tz), localDate(to, tz));
    default: return days(addDays(today, 1 - parseInt(range)), today);
  }
}

const nextMinute = (now) => (Math.floor(now / MINUTE) + 1) * MINUTE;
const localDate = (moment, tz) => (isInstant(moment) ? localTime(Date.parse(moment), tz).slice(0, 10) : moment);

function days(start, end) {
  return { start, end, length: Date.parse(end) - Date.parse(start) + DAY };
}

// Those from a moment up to another one, which is not included: the API's end is the microsecond before it.
function instants(first, behind) {
  const end = new Date(behind - 1).toISOString().replace("Z", "999Z");
  return { start: new Date(first).toISOString(), end, length: behind - first };
}

// The period before a range. One that goes on is compared with as much of the period before: `end`; `wholeEnd` is its end.
export function previousOf(range, preset, { tz }, now) {
  if (!range.start) return null;
  if (isInstant(range.start)) {
    const start = Date.parse(range.start);
    const { start: first, end } = instants(start - range.length, start);
    return { start: first, end, wholeEnd: end };
  }
  const shifted = (date) => shift(date, preset, range.length);
  const [today, time] = localTime(now, tz).split("T");
  const end = shifted(range.end);
  return { start: shifted(range.start), end: range.end === today ? `${end}T${time}` : end, wholeEnd: end };
}

function shift(date, preset, length) {
  if (preset === "month") return addMonths(date, -1);
  if (preset === "12mo") return addMonths(date, -12);
  return addDays(date, -length / DAY);
}

// What a state has to be so that it shows as many days, or minutes, right before (-1) or after (1) a range; null where there
// are none: all time has no neighbours, and what is to come has no events.
export function neighbourOf({ start, end, length }, direction, { tz }, now) {
  if (!start) return null;
  const custom = (from, to) => ({ range: "custom", from, to });
  if (isInstant(start)) {
    const first = Date.parse(start) + direction * length;
    return first > now ? null : custom(minuteOf(first), minuteOf(first + length - MINUTE));
  }
  const [first, last] = [start, end].map((date) => addDays(date, (direction * length) / DAY));
  return first > localTime(now, tz).slice(0, 10) ? null : custom(first, last);
}

export function fittingInterval(length) {
  return FITTING.find(([, longest]) => length <= longest)[0];
}

// `auto` never is; and how long all time is, is not known.
export const isTooFine = (interval, length) => length / INTERVALS[interval] > MOST_BUCKETS;

// What a state has to be so that it shows the buckets from one to another one alone.
export function zoomedTo({ labels, interval }, first, last) {
  const start = labels[first];
  const behind = labels[last + 1];
  if (INTERVALS[interval] >= DAY) {
    const lastStart = labels[last].slice(0, 10);
    const to = behind ? addDays(behind.slice(0, 10), -1) : lastDay(lastStart, interval);
    return { range: "custom", from: start.slice(0, 10), to, interval: "auto" };
  }
  const end = behind ? Date.parse(behind) : Date.parse(labels[last]) + INTERVALS[interval];
  return { range: "custom", from: minuteOf(Date.parse(start)), to: minuteOf(end - MINUTE), interval: "auto" };
}

function lastDay(start, interval) {
  if (interval === "month") return addDays(addMonths(start, 1), -1);
  return addDays(start, interval === "week" ? 6 : 0);
}

const minuteOf = (instant) => `${new Date(instant).toISOString().slice(0, 16)}Z`;
