// Lists of what there is most of, with a bar behind each row as long as its share of the first.
import { count } from "./format.js";

const MOST = 10;

const pageRow = ({ path, views }) => [path, views];
const elementRow = ({ element, clicks }) => [element, clicks];
export const pages = list("pages", "analytics/top-pages", pageRow, "No views in this range.");
export const elements = list("elements", "analytics/top-elements", elementRow, "No clicks in this range.");

function list(id, path, pair, nothing) {
  const section = document.getElementById(id);
  const note = section.querySelector(".note");
  return {
    section,
    load: (view, get) => get(path, { ...view.query(), limit: MOST }),
    show(answer) {
      const rows = answer[id].map(pair);
      fillList(section.querySelector("table"), rows);
      note.hidden = rows.length > 0;
      note.textContent = nothing;
    },
  };
}

export function fillList(table, rows) {
  const most = rows[0]?.[1];
  table.hidden = rows.length === 0;
  table.tBodies[0].replaceChildren(...rows.map(([name, number]) => row(name, number, number / most)));
}

function row(name, number, share) {
  const made = document.createElement("tr");
  made.style.setProperty("--share", share);
  const head = Object.assign(document.createElement("th"), { scope: "row", title: name });
  head.append(Object.assign(document.createElement("span"), { textContent: name }));
  made.append(head, Object.assign(document.createElement("td"), { textContent: count(number) }));
  return made;
}
