// How pages of TypeScript call tallymark.js: compiled by a test, never run. A line after @ts-expect-error must not compile.

const { tallymark } = window;

tallymark?.track("view", { url: location.href, title: document.title });
tallymark?.track("click", { element_id: "play", text: null, volume: 11 });
tallymark?.track("click", {});
navigator.geolocation.getCurrentPosition(({ coords: { latitude, longitude, accuracy } }) =>
  tallymark?.track("location", { latitude, longitude, accuracy }),
);
tallymark?.location();
const kinds: (keyof TallymarkPayloads)[] = ["view", "click", "location"];
const handler: Tallymark["track"] = (type, payload) => window.tallymark?.track(type, payload);

// @ts-expect-error: it may be missing
window.tallymark.location();
// @ts-expect-error: there is no such type
tallymark?.track("purchase", {});
// @ts-expect-error: a view has a url
tallymark?.track("view", { title: "Home" });
// @ts-expect-error: a number, not a text
tallymark?.track("location", { latitude: "52.5", longitude: 13.4 });
// @ts-expect-error: both are needed
tallymark?.track("location", { latitude: 52.5 });
// @ts-expect-error: a payload of another type
handler("click", { element_id: 7 });
// @ts-expect-error: it says nothing of what became of the event
tallymark?.track("click", {}).then(() => kinds.length);
