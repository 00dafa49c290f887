// The catalogue's progress: the server's fragment, fetched again every two seconds while somebody looks.

import "./page.js";

const AGAIN_MS = 2_000;
const here = document.querySelector("[data-progress-here]");

setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(document.body.dataset.progress, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    // Our own server's fragment, escaped there; parsed apart, so that nothing in it can run.
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    here.replaceChildren(...found.childNodes);
  } catch {
    // the desk is away: the page keeps what it has, the header says so
  }
}, AGAIN_MS);
