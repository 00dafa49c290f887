// The theme a person chose, set before the first paint. A classic script on purpose: modules run after it.

(() => {
  const KEY = "kalshiweb.theme";
  const root = document.documentElement;

  function apply(choice) {
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
  }

  function show() {
    const chosen = root.dataset.theme ?? "";
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen));
    }
  }

  apply(localStorage.getItem(KEY));
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice]");
    if (!button) return;
    if (button.dataset.themeChoice) localStorage.setItem(KEY, button.dataset.themeChoice);
    else localStorage.removeItem(KEY);
    apply(button.dataset.themeChoice);
    show();
  });
})();
