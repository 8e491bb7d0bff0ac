// Draws columns by uPlot: a line with what is below it, the period before as dashes, and a tip at the pointer.
import { colour } from "./appearance.js";
import { bucketName, compact, count, tick } from "./format.js";
import { DAY, INTERVALS } from "./ranges.js";
import { followFingers } from "./touch.js";

const LEAST_DRAG_PIXELS = 8;
const TICK_DAYS = [1, 2, 3, 5, 7, 10, 15, 30, 60, 90, 120, 180, 365, 730, 1825, 3650];

const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
let drawn;

// `select` is called with the first and the last bucket that somebody drags over, or spreads two fingers around.
export function drawPlot(place, columns, tz, select) {
  // Answers may be here before it.
  if (!window.uPlot) return addEventListener("DOMContentLoaded", () => drawPlot(place, columns, tz, select), { once: true });
  drawn?.destroy();
  drawn = columns.labels.length ? new window.uPlot(options(place, columns, tz, select), data(columns), place) : null;
  if (drawn) followFingers(drawn, select);
  place.append(tip);
}

export function fitPlot({ clientWidth: width, clientHeight: height }) {
  drawn?.setSize({ width, height });
}

const data = ({ starts, values, before }) => [starts.map((start) => start / 1000), before ?? [], values];

function options({ clientWidth: width, clientHeight: height }, columns, tz, select) {
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 24, 0, 0],
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), tz),
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 9 } },
    scales: {
      x: { range: (_, from, to) => widened(from, to, columns) },
      y: { range: (_, __, most) => [0, Math.max(most * 1.08, 4)] },
    },
    axes: axes(columns, tz),
    series: [{}, dashes(), line(columns)],
    hooks: {
      setCursor: [(chart) => showTip(chart, columns, tz)],
      setSelect: [(chart) => dragged(chart, select)],
    },
  };
}

// One bucket alone is in the middle.
function widened(from, to, { interval }) {
  const width = INTERVALS[interval] / 1000;
  return from === to ? [from - width, to + width] : [from, to];
}

function axes({ interval }, tz) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colour("--quiet"), font, ticks: { show: false }, gap: 10 };
  // Among days there are no hours.
  const apart = INTERVALS[interval] < DAY ? {} : { incrs: TICK_DAYS.map((days) => (days * DAY) / 1000) };
  const times = (_, seconds, __, ___, secondsApart) => ticks(seconds, secondsApart, tz);
  return [
    { ...axis, ...apart, grid: { show: false }, size: 36, space: 68, values: times },
    { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 48, space: 44, values: (_, all) => all.map(whole) },
  ];
}

const whole = (number) => (Number.isInteger(number) ? compact(number) : "");

// Ticks of midnight among hours bear their date.
function ticks(seconds, apart, tz) {
  return seconds.map((one) => {
    const text = tick(one, apart, tz);
    return text === "00:00" ? tick(one, DAY / 1000, tz) : text;
  });
}

const line = ({ starts }) => ({
  stroke: colour("--accent"),
  width: 2,
  fill: fade,
  points: { show: starts.length < 2, size: 9, fill: colour("--accent") },
});

const dashes = () => ({ stroke: colour("--quiet", 0.7), width: 1.5, dash: [4, 4], points: { show: false } });

function fade({ ctx, bbox: { top, height } }) {
  const gradient = ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, colour("--accent", 0.24));
  gradient.addColorStop(1, colour("--accent", 0.02));
  return gradient;
}

function dragged(chart, select) {
  const { left, width } = chart.select;
  if (width < LEAST_DRAG_PIXELS) return;
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  select(chart.posToIdx(left), chart.posToIdx(left + width));
}

function showTip(chart, { starts, values, before, interval }, tz) {
  const { idx: place, left } = chart.cursor;
  tip.hidden = (values[place] ?? null) === null;
  if (tip.hidden) return;
  const earlier = before?.[place] ?? null;
  tip.replaceChildren(
    part("p", bucketName(starts[place], interval, tz)),
    part("b", count(values[place])),
    ...(earlier === null ? [] : [part("span", `${count(earlier)} before`)]),
  );
  const x = chart.valToPos(starts[place] / 1000, "x") + chart.over.offsetLeft;
  const beside = left > chart.over.clientWidth / 2 ? "- 100% - 12px" : "+ 12px";
  tip.style.translate = `calc(${x}px ${beside}) 12px`;
}

const part = (tag, textContent) => Object.assign(document.createElement(tag), { textContent });
