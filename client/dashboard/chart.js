// The chart of the chosen series, and the same numbers as a table.
import { colour } from "./appearance.js";
import { columnsOf, NAMES } from "./columns.js";
import { bucketName, compact, count, tick } from "./format.js";
import { DAY, fittingInterval, INTERVALS, zoomedTo } from "./ranges.js";
import { showTable } from "./table.js";

const OVER_TIME = "analytics/event-counts-over-time";
const FONT = "12px system-ui, sans-serif";
const LEAST_DRAG_PIXELS = 8;
const TICK_DAYS = [1, 2, 3, 5, 7, 10, 15, 30, 60, 90, 120, 180, 365, 730, 1825, 3650];

const section = document.getElementById("chart");
const plot = section.querySelector(".plot");
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
let drawn; // by uPlot
let answers = {};
let series; // the chosen one
let view;
let zoom;

export const chart = {
  section,

  async load(wanted, get) {
    const ask = (range, interval) => get(OVER_TIME, { ...wanted.query(range), interval });
    if (wanted.interval === null) return { overTime: await fittedToAll(wanted, ask), before: null };
    const { previous, interval } = wanted;
    const [overTime, before] = await Promise.all([
      ask(wanted.range, interval),
      previous && ask({ ...previous, end: previous.wholeEnd }, interval),
    ]);
    return { overTime, before };
  },

  show(answer, shown) {
    answers = { ...answers, ...answer };
    view = shown;
    draw();
  },
};

// Where events begin is known once they were asked for.
async function fittedToAll({ range }, ask) {
  const months = await ask(range, "month");
  const [first, last] = [months.buckets.at(0), months.buckets.at(-1)];
  if (!first) return months;
  const interval = fittingInterval(Date.parse(last) - Date.parse(first) + INTERVALS.month);
  return interval === "month" ? months : ask(range, interval);
}

export function showUsersOverTime(users) {
  answers.users = users;
  draw();
}

export function forgetUsers() {
  delete answers.users;
}

export function choose(chosen) {
  series = chosen;
  draw();
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
  drawn?.destroy();
  if (columns.labels.length) drawn = new window.uPlot(options(columns), data(columns), plot);
  else plot.replaceChildren();
  plot.append(tip);
  showTable(section.querySelector("details"), columns, view.state.tz, NAMES[series], narrowTo(columns));
}

const words = (interval) => interval.replace("_", " ");

function description(name, { starts, values, interval }) {
  const most = Math.max(...values);
  if (!most) return `${name}: none.`;
  return `${name}. The most, ${count(most)}: ${bucketName(starts[values.indexOf(most)], interval, view.state.tz)}.`;
}

const narrowTo = (columns) => (first, last = first) => zoom(zoomedTo(columns, first, last));

const data = ({ starts, values, before }) => [starts.map((start) => start / 1000), before ?? [], values];

function options(columns) {
  const { tz } = view.state;
  const axis = { stroke: colour("--quiet"), font: FONT, ticks: { show: false } };
  return {
    width: plot.clientWidth,
    height: plot.clientHeight,
    legend: { show: false },
    padding: [12, 28, 0, 0],
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), tz),
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 9 } },
    scales: { x: { range: (_, from, to) => widened(from, to, columns) }, y: { range: (_, __, most) => [0, Math.max(most * 1.08, 4)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 68, ...whole(columns), values: (_, seconds, __, ___, apart) => ticks(seconds, apart, tz) },
      { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 52, space: 44, values: (_, numbers) => numbers.map(wholeOnly) },
    ],
    series: [{}, earlierLine(), line(columns)],
    hooks: { setCursor: [(chart) => showTip(chart, columns)], setSelect: [(chart) => select(chart, columns)] },
  };
}

// Among days there are no hours.
const whole = ({ interval }) => (INTERVALS[interval] < DAY ? {} : { incrs: TICK_DAYS.map((days) => (days * DAY) / 1000) });
const wholeOnly = (number) => (Number.isInteger(number) ? compact(number) : "");

// Ticks of midnight among hours bear their date.
function ticks(seconds, apart, tz) {
  return seconds.map((one) => {
    const text = tick(one, apart, tz);
    return text === "00:00" ? tick(one, 86_400, tz) : text;
  });
}

function widened(from, to, { interval }) {
  const width = INTERVALS[interval] / 1000;
  return from === to ? [from - width, to + width] : [from, to];
}

const line = ({ starts }) => ({
  stroke: colour("--accent"),
  width: 2,
  fill: (chart) => fade(chart),
  points: { show: starts.length < 2, size: 9, fill: colour("--accent") },
});

const earlierLine = () => ({ stroke: colour("--quiet", 0.7), width: 1.5, dash: [4, 4], points: { show: false } });

function fade({ ctx, bbox: { top, height } }) {
  const gradient = ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, colour("--accent", 0.24));
  gradient.addColorStop(1, colour("--accent", 0.02));
  return gradient;
}

function select(chart, columns) {
  const { left, width } = chart.select;
  if (width < LEAST_DRAG_PIXELS) return;
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  narrowTo(columns)(chart.posToIdx(left), chart.posToIdx(left + width));
}

function showTip(chart, { starts, values, before, interval }) {
  const { idx: place, left } = chart.cursor;
  tip.hidden = place === null || place === undefined || values[place] === null;
  if (tip.hidden) return;
  const earlier = before?.[place] ?? null;
  tip.replaceChildren(
    part("p", bucketName(starts[place], interval, view.state.tz)),
    part("b", count(values[place])),
    ...(earlier === null ? [] : [part("span", `${count(earlier)} before`)]),
  );
  const x = chart.valToPos(starts[place] / 1000, "x") + chart.over.offsetLeft;
  const isRight = left > chart.over.clientWidth / 2;
  tip.style.translate = `calc(${x}px ${isRight ? "- 100% - 12px" : "+ 12px"}) 12px`;
}

function part(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

new ResizeObserver(() => drawn?.setSize({ width: plot.clientWidth, height: plot.clientHeight })).observe(plot);
