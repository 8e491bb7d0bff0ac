// Before anything is drawn, so that no page flashes up in the other scheme. Without a choice the system's is used.
try {
  if (localStorage.tallymarkTheme) document.documentElement.dataset.theme = localStorage.tallymarkTheme;
} catch {
  // Storage is refused: the choice then holds for this page alone.
}
