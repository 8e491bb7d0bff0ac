// The outline of the land, in degrees, from Natural Earth's TopoJSON: rings of arcs, whose points are differences.
const FILE = "vendor/world-atlas/land-110m.json";

export async function loadLand() {
  const { arcs, transform, objects } = await (await fetch(FILE)).json();
  const decoded = arcs.map((arc) => pointsOf(arc, transform));
  const outline = new Path2D();
  for (const polygon of objects.land.geometries.flatMap(({ type, arcs: of }) => (type === "Polygon" ? [of] : of))) {
    for (const ring of polygon) addRing(outline, ring.flatMap((arc) => (arc < 0 ? decoded[~arc].toReversed() : decoded[arc])));
  }
  return outline;
}

function pointsOf(arc, { scale: [scaleX, scaleY], translate: [left, bottom] }) {
  let x = 0;
  let y = 0;
  return arc.map(([right, up]) => [(x += right) * scaleX + left, (y += up) * scaleY + bottom]);
}

// A ring that crosses the date line goes on beyond it, and one around the pole is closed by way of it; copies to the left
// and right show what lies beyond.
function addRing(outline, points) {
  let turned = 0;
  const unrolled = points.map(([longitude, latitude], place) => {
    const step = place ? longitude - points[place - 1][0] : 0;
    if (Math.abs(step) > 180) turned -= 360 * Math.sign(step);
    return [longitude + turned, latitude];
  });
  if (turned) unrolled.push([unrolled.at(-1)[0], -90], [unrolled[0][0], -90]);
  const ring = new Path2D();
  for (const point of unrolled) ring.lineTo(...point);
  ring.closePath();
  for (const left of [-360, 0, 360]) outline.addPath(ring, { e: left });
}
