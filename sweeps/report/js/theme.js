// Colours: as the system says, light or dark; the choice is kept where the browser allows it.

const THEMES = [["auto", "Auto", "as the system"], ["light", "Light", "light"], ["dark", "Dark", "dark"]];

function startTheme() {
  const button = document.getElementById("theme");
  let place = Math.max(0, THEMES.findIndex(([key]) => key === keptTheme()));
  const show = () => {
    const [key, name, words] = THEMES[place];
    if (key === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = key;
    button.textContent = name;
    button.setAttribute("aria-label", `Colours: ${words}`);
  };
  button.addEventListener("click", () => {
    place = (place + 1) % THEMES.length;
    show();
    keepTheme(THEMES[place][0]);
  });
  show();
}

function keptTheme() {
  try {
    return localStorage.getItem("mrdo-report-theme");
  } catch {
    return null;
  }
}

function keepTheme(key) {
  try {
    localStorage.setItem("mrdo-report-theme", key);
  } catch {
    // A browser may forbid it for files; then the choice lasts as long as the page.
  }
}
