// A link that is shown once can be copied with one press; without the clipboard it stays selectable text.

for (const button of document.querySelectorAll("[data-copy]")) {
  const from = button.parentElement.querySelector("[data-copy-from]");
  button.hidden = !navigator.clipboard;
  from.addEventListener("focus", () => from.select());
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(from.value);
    button.textContent = "Copied";
  });
}
