// Fingers on the chart, as uPlot knows a mouse only: one drags over what is to be shown, two spread it. What goes up or down
// scrolls the page (touch-action in parts.css), and is then no drag.
const LEAST_SPREAD = 1.2;

// `select` is called with the first and the last bucket that two fingers leave in sight.
export function followFingers(chart, select) {
  const { over } = chart;
  const fingers = new Map();
  const placeOf = ({ clientX }) => clientX - over.getBoundingClientRect().left;
  const mouse = (type, { clientX, clientY }) =>
    over.dispatchEvent(new MouseEvent(type, { clientX, clientY, movementX: 1, bubbles: true }));
  const chosen = (left, width) => chart.setSelect({ left, width, top: 0, height: over.clientHeight }, false);

  function letGo(event) {
    chosen(0, 0);
    mouse("mouseup", event);
  }

  function move(event) {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    finger.now = placeOf(event);
    if (fingers.size === 1) return mouse("mousemove", event);
    const [left, right] = inSight([...fingers.values()], over.clientWidth);
    chosen(left, right - left);
  }

  function down(event) {
    if (event.pointerType !== "touch" || fingers.size === 2) return;
    if (fingers.size === 1) letGo(event);
    const place = placeOf(event);
    fingers.set(event.pointerId, { start: place, now: place });
    if (fingers.size === 1) ["mousemove", "mousedown"].forEach((type) => mouse(type, event));
    else for (const finger of fingers.values()) finger.start = finger.now;
  }

  function up(event) {
    if (!fingers.has(event.pointerId)) return;
    const both = [...fingers.values()];
    fingers.clear();
    const isDone = event.type === "pointerup";
    if (isDone && both.length === 1) return mouse("mouseup", event);
    letGo(event);
    if (!isDone || both.length === 1) return;
    const [left, right] = inSight(both, over.clientWidth);
    if (right - left < over.clientWidth / LEAST_SPREAD) select(chart.posToIdx(left), chart.posToIdx(right));
  }

  over.addEventListener("pointerdown", down);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", up);
  over.addEventListener("pointercancel", up);
}

// From where to where two fingers leave a width in sight: what was below them stays below them.
function inSight(fingers, width) {
  const [one, other] = fingers.sort((a, b) => a.start - b.start);
  const spread = Math.max((other.now - one.now) / Math.max(other.start - one.start, 1), 1);
  const left = Math.max(one.start - one.now / spread, 0);
  return [left, Math.min(left + width / spread, width)];
}
