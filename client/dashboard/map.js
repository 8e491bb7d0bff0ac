// Where location events are: the latest of the range, on a map whose x is the longitude and y the latitude.
import { colour } from "./appearance.js";
import { count } from "./format.js";
import { loadLand } from "./land.js";
import { fillList } from "./lists.js";

const MOST = 1000; // the most that the API gives at once
const PLACES = 10;
const LEAST_RADIUS = 1.5;
const NORTH = 84;
const SOUTH = -58; // Antarctica is left out, unless somebody is there

const section = document.getElementById("map");
const canvas = section.querySelector("canvas");
const note = section.querySelector(".note");
let land = new Path2D();
let places = [];

loadLand().then((outline) => {
  land = outline;
  drawMap();
}, () => {}); // Points say where they are without it, too.

export const map = {
  section,

  async load(view, get) {
    const { events, next } = await get("events", { ...view.query(), event_type: "location", limit: MOST });
    const found = events.map(({ payload: { latitude, longitude } }) => [longitude, latitude]);
    return { found, isAll: next === null };
  },

  show({ found, isAll }) {
    places = placesOf(found);
    const number = count(found.length);
    note.textContent = isAll ? `${number} in this range` : `The latest ${number} of this range`;
    section.querySelector("details").hidden = places.length === 0;
    fillList(section.querySelector("table"), places.slice(0, PLACES).map(({ name, number }) => [name, number]));
    const most = places[0] ? ` The busiest place, with ${count(places[0].number)}: ${places[0].name}.` : "";
    canvas.setAttribute("aria-label", `World map with ${number} locations.${most}`);
    drawMap();
  },
};

// Squares of one degree by name, each with its number and the sums of its coordinates, the busiest first.
function placesOf(points) {
  const places = new Map();
  for (const [longitude, latitude] of points) {
    const name = `${degrees(latitude, "N", "S")}, ${degrees(longitude, "E", "W")}`;
    const place = places.get(name) ?? { name, number: 0, longitudes: 0, latitudes: 0 };
    places.set(name, place);
    place.number += 1;
    place.longitudes += longitude;
    place.latitudes += latitude;
  }
  return [...places.values()].sort((one, other) => other.number - one.number);
}

function degrees(value, positive, negative) {
  const least = Math.floor(Math.abs(value));
  return `${least}–${least + 1}° ${value < 0 ? negative : positive}`;
}

export function drawMap() {
  const spots = places.map(({ number, longitudes, latitudes }) => [longitudes / number, latitudes / number, number]);
  const isFar = spots.some(([, latitude]) => latitude < SOUTH || latitude > NORTH);
  const [south, north] = isFar ? [-90, 90] : [SOUTH, NORTH];
  const width = canvas.clientWidth * devicePixelRatio;
  const scale = width / 360;
  Object.assign(canvas, { width, height: (north - south) * scale });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, -scale, 180 * scale, north * scale);
  context.fillStyle = colour("--land");
  context.fill(land, "evenodd");
  const pixel = devicePixelRatio / scale;
  context.fillStyle = colour("--accent", 0.5);
  context.strokeStyle = colour("--accent");
  context.lineWidth = pixel;
  for (const [longitude, latitude, number] of spots) {
    context.beginPath();
    context.arc(longitude, latitude, radiusOf(number) * pixel, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

// In pixels: the area is as large as the number, beside others, but for a least that can be seen.
const radiusOf = (number) => LEAST_RADIUS + (canvas.clientWidth / 90) * Math.sqrt(number / places[0].number);

let drawnWidth = 0;
new ResizeObserver(([{ contentRect: { width } }]) => {
  if (width !== drawnWidth) drawMap();
  drawnWidth = width;
}).observe(canvas);
