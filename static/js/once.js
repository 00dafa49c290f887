// A form is sent once. A proof gives the session another key, and a second click would arrive with the one before.

document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  else if (!event.defaultPrevented) event.target.dataset.sent = "yes";
});

// The way back shows the page as it was left.
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) for (const form of document.forms) delete form.dataset.sent;
});
