// Numbers and times for people, by Intl.
import { isInstant } from "./ranges.js";

const LOCALE = "en-GB";
const whole = new Intl.NumberFormat(LOCALE);
const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 0, signDisplay: "never" });
const formats = new Map();

const DATE = { day: "numeric", month: "short", year: "numeric" };
const TIME = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const OF_BUCKET = { day: { weekday: "short", ...DATE }, week: DATE, month: { month: "long", year: "numeric" } };

export const count = (number) => whole.format(number);
export const compact = (number) => short.format(number);
export const percent = (ratio) => share.format(ratio);

function dates(options, tz) {
  const key = JSON.stringify([options, tz]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(LOCALE, { ...options, timeZone: tz }));
  return formats.get(key);
}

// A bucket by the instant of its start.
export function bucketName(start, interval, tz) {
  const name = dates(OF_BUCKET[interval] ?? { weekday: "short", ...TIME }, tz).format(start);
  return interval === "week" ? `Week of ${name}` : name;
}

export function day(date) {
  return dates(DATE, "UTC").format(Date.parse(date));
}

export function rangeName({ start, end }, tz) {
  if (!start) return "All time";
  if (isInstant(start)) return dates({ ...TIME, year: "numeric" }, tz).formatRange(Date.parse(start), Date.parse(end));
  // An end before its start has no name of its own.
  const [first, last] = [start, end].sort();
  return dates(DATE, "UTC").formatRange(Date.parse(first), Date.parse(last));
}

// A tick of the time axis, as fine as ticks are apart.
export function tick(seconds, secondsApart, tz) {
  const options = secondsApart >= 300 * 86_400 ? { year: "numeric" }
    : secondsApart >= 27 * 86_400 ? { month: "short", year: "numeric" }
    : secondsApart >= 86_400 ? { day: "numeric", month: "short" }
    : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return dates(options, tz).format(seconds * 1000);
}
