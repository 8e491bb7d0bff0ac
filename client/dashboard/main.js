// The page: what its query says is shown, and what somebody changes becomes its query.
import { switchBy } from "./appearance.js";
import { chart, choose, draw, onZoom } from "./chart.js";
import { onChange, onStep, showControls } from "./controls.js";
import { figures, markChosen, users } from "./figures.js";
import { rangeName } from "./format.js";
import { elements, pages } from "./lists.js";
import { showLiveOf } from "./live.js";
import { loaderOf } from "./loading.js";
import { drawMap, map } from "./map.js";
import { fittingInterval, isTooFine, neighbourOf, previousOf, rangeOf } from "./ranges.js";
import { readState, writeState } from "./state.js";

const element = (id) => document.getElementById(id);
const loader = loaderOf([figures, users, chart, pages, elements, map], showTroubles);
let view;

// What is asked for: by a state, at a moment.
function viewOf(state, now) {
  const range = rangeOf(state, now);
  const interval = state.interval !== "auto" ? state.interval : range.start ? fittingInterval(range.length) : null;
  return {
    state,
    now,
    range,
    interval,
    previous: state.compare === "on" ? previousOf(range, state.range, state, now) : null,
    query: ({ start, end } = range) => ({
      ...(start && { start_date: start, end_date: end }),
      tz: state.tz,
      site: state.site,
    }),
    link: (change) => writeState({ ...state, ...change }),
  };
}

function navigate(change) {
  const state = { ...view.state, ...change };
  history.pushState(null, "", writeState(state));
  show(state);
}

function show(wanted) {
  const now = isOtherRange(wanted) ? Date.now() : view.now;
  const { length } = rangeOf(wanted, now);
  const state = isTooFine(wanted.interval, length) ? { ...wanted, interval: "auto" } : wanted;
  history.replaceState(null, "", writeState(state));
  const isSeriesAlone = view && writeState({ ...state, series: view.state.series }) === writeState(view.state);
  view = viewOf(state, now);
  markChosen(state.series);
  const isThere = choose(state.series);
  if (isSeriesAlone) {
    if (!isThere) loader.loadMore(chart);
    return;
  }
  // First of all, since what is asked for takes longest.
  loader.load(view);
  showControls(view);
  element("figures").toggleAttribute("data-compared", view.previous !== null);
  element("range-name").textContent = rangeName(view.range, state.tz);
  element("before-name").textContent = view.previous ? `compared with ${beforeName(view)}` : "";
  showLiveOf(state.site);
}

const beforeName = ({ previous: { start, wholeEnd }, state }) => rangeName({ start, end: wholeEnd }, state.tz);

// The moment of a view stays while its range does, so that what was asked already is the same question.
function isOtherRange(state) {
  return !view || ["range", "from", "to", "tz", "site"].some((name) => state[name] !== view.state[name]);
}

function showTroubles(troubles) {
  const [trouble] = troubles;
  element("trouble").hidden = !trouble;
  if (!trouble) return;
  const text = trouble.passes ? `${trouble.message} This page tries again by itself.` : trouble.message;
  if (element("trouble").textContent !== text) element("trouble").textContent = text;
}

function redraw() {
  draw();
  drawMap();
}

onChange(navigate);
onStep((direction) => navigate(neighbourOf(view.range, direction, view.state, view.now)));
onZoom(navigate);
switchBy(element("theme"), redraw);
element("figures").addEventListener("click", ({ target }) => {
  const series = target.closest("[data-series]")?.dataset.series;
  if (series && series !== view.state.series) navigate({ series });
});
addEventListener("popstate", () => show(readState(location.search)));
show(readState(location.search));
