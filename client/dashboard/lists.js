// Lists of what there is most of, with a bar behind each row as long as its part of the first, and its share of all.
import { BY_TYPE } from "./figures.js";
import { count, percent } from "./format.js";

const MOST = 10;

const pageRow = ({ path, views }) => [path, views];
const elementRow = ({ element, clicks }) => [element, clicks];
export const pages = list("pages", "analytics/top-pages", pageRow, "view", "No views in this range.");
export const elements = list("elements", "analytics/top-elements", elementRow, "click", "No clicks in this range.");

function list(id, path, pair, type, nothing) {
  const section = document.getElementById(id);
  const note = section.querySelector(".note");
  return {
    section,
    load: (view, get) => Promise.all([get(path, { ...view.query(), limit: MOST }), get(BY_TYPE, view.query())]),
    show([answer, { [type]: all }]) {
      const rows = answer[id].map(pair).map(([name, number]) => [name, number, percent(number / all)]);
      fillList(section.querySelector("table"), rows);
      note.hidden = rows.length > 0;
      note.textContent = nothing;
    },
  };
}

export function fillList(table, rows) {
  const most = rows[0]?.[1];
  table.hidden = rows.length === 0;
  table.tBodies[0].replaceChildren(...rows.map((row) => rowOf(row, row[1] / most)));
}

function rowOf([name, number, ...notes], part) {
  const made = document.createElement("tr");
  made.style.setProperty("--part", part);
  const head = Object.assign(document.createElement("th"), { scope: "row", title: name });
  head.append(Object.assign(document.createElement("span"), { textContent: name }));
  made.append(head, ...[count(number), ...notes].map(cell));
  return made;
}

const cell = (textContent) => Object.assign(document.createElement("td"), { textContent });
