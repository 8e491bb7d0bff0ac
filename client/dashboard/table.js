// A table behind the chart: made when it is opened, since it may be long. Each row leads to its own part of the time.
import { bucketName, count } from "./format.js";

export function showTable(details, columns, tz, name, narrowTo) {
  const table = details.querySelector("table");
  const fill = () => details.open && table.replaceChildren(head(columns, name), body(columns, tz, narrowTo));
  details.ontoggle = fill;
  fill();
}

function head({ before }, name) {
  const titles = ["Time", name, ...(before ? ["The period before"] : [])];
  return element("thead", element("tr", ...titles.map((title) => cell("th", title, "col"))));
}

function body({ starts, values, before, interval }, tz, narrowTo) {
  const rows = starts.map((start, place) => {
    const when = bucketName(start, interval, tz);
    const link = Object.assign(element("button", when), { type: "button", title: `Show only ${when}` });
    link.addEventListener("click", () => narrowTo(place));
    const numbers = [values[place], ...(before ? [before[place]] : [])];
    return element("tr", cell("th", interval === "minute" ? when : link, "row"), ...numbers.map(number));
  });
  return element("tbody", ...rows);
}

const number = (value) => element("td", value === null ? "–" : count(value));
const cell = (tag, content, scope) => Object.assign(element(tag, content), { scope });

function element(tag, ...content) {
  const made = document.createElement(tag);
  made.append(...content);
  return made;
}
