// Light and dark, and what their colours are for a canvas.
const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

// Lets a button switch, and `redraw` what is drawn whenever the scheme changes.
export function switchBy(button, redraw) {
  const changed = () => {
    button.setAttribute("aria-pressed", isDark());
    redraw();
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.tallymarkTheme = root.dataset.theme;
    } catch {
      // As in theme.js.
    }
    changed();
  });
  system.addEventListener("change", changed);
  changed();
}

// The colour that a custom property stands for now, with an opacity.
export function colour(name, opacity = 1) {
  const probe = document.createElement("i");
  probe.style.color = opacity === 1 ? `var(${name})` : `color-mix(in srgb, var(${name}) ${opacity * 100}%, transparent)`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
