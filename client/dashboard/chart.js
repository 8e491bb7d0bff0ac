// The chart of the chosen series, and the same numbers as a table.
import { columnsOf, NAMES } from "./columns.js";
import { usersByDay } from "./figures.js";
import { bucketName, count } from "./format.js";
import { drawPlot, fitPlot } from "./plot.js";
import { fittingInterval, INTERVALS, zoomedTo } from "./ranges.js";
import { showTable } from "./table.js";

const OVER_TIME = "analytics/event-counts-over-time";

const section = document.getElementById("chart");
const plot = section.querySelector(".plot");
let answers = {};
let series; // the chosen one
let view;
let zoom;

export const chart = {
  section,

  async load(wanted, get) {
    const [events, users] = await Promise.all([
      eventsOverTime(wanted, get),
      series === "users" ? usersByDay(wanted, get) : null,
    ]);
    return { ...events, users };
  },

  show(answer, shown) {
    answers = answer;
    view = shown;
    draw();
  },
};

async function eventsOverTime(wanted, get) {
  const ask = (range, interval) => get(OVER_TIME, { ...wanted.query(range), interval });
  if (wanted.interval === null) return { overTime: await fittedToAll(wanted, ask), before: null };
  const { previous, interval } = wanted;
  const [overTime, before] = await Promise.all([
    ask(wanted.range, interval),
    previous && ask({ ...previous, end: previous.wholeEnd }, interval),
  ]);
  return { overTime, before };
}

// Where events begin is known once they were asked for.
async function fittedToAll({ range }, ask) {
  const months = await ask(range, "month");
  const [first, last] = [months.buckets.at(0), months.buckets.at(-1)];
  if (!first) return months;
  const interval = fittingInterval(Date.parse(last) - Date.parse(first) + INTERVALS.month);
  return interval === "month" ? months : ask(range, interval);
}

// Returns whether what it shows was asked for.
export function choose(chosen) {
  series = chosen;
  draw();
  return series !== "users" || Boolean(answers.users);
}

export function onZoom(callback) {
  zoom = callback;
}

export function draw() {
  const isThere = series === "users" ? answers.users : answers.overTime;
  plot.toggleAttribute("data-waits", !isThere);
  if (!view || !isThere) return;
  const columns = columnsOf(series, answers, view);
  const name = `${NAMES[series]} by ${words(columns.interval)}`;
  section.querySelector("h3").textContent = name;
  plot.setAttribute("aria-label", description(name, columns));
  const narrowTo = (first, last = first) => zoom(zoomedTo(columns, first, last));
  const { tz } = view.state;
  drawPlot(plot, columns, tz, narrowTo);
  showTable(section.querySelector("details"), columns, tz, NAMES[series], narrowTo);
}

const words = (interval) => interval.replace("_", " ");

function description(name, { starts, values, interval }) {
  const most = Math.max(...values);
  if (!most) return `${name}: none.`;
  return `${name}. The most, ${count(most)}: ${bucketName(starts[values.indexOf(most)], interval, view.state.tz)}.`;
}

new ResizeObserver(() => fitPlot(plot)).observe(plot);
