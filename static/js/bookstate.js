// The label that says how far a market's book may be believed, and the sentence beside it.

import { write } from "./dom.js";
import { age, clock, dayClock } from "./format.js";
import { feed, feedLabel } from "./page.js";

const SENTENCES = {
  LIVE: "every change arrives by the stream",
  STALE: "nothing is heard; prices may have moved, clicks are dead",
  RESYNC: "a fresh snapshot is on its way",
  DOWN: "no connection; cancel still works",
  POLLED: "there is no stream; the book is asked for every second",
  PAUSED: "the exchange has paused trading here",
  CLOSED: "trading has ended",
  REPLAY: "a recorded book, not the present; orders are not possible",
};

// The exchange's own words for where a market's life stands, for people.
const LIFE = {
  inactive: "the exchange has paused trading here",
  initialized: "trading has not begun",
  closed: "trading has ended; the result is not known yet",
  determined: "trading has ended; the result is known and not yet paid",
  disputed: "trading has ended; the result is disputed",
  amended: "trading has ended; the result was corrected",
  finalized: "settled and paid",
};

// {state, why, ageMs}: a replayed market that is otherwise live says REPLAY as its word, but keeps its state.
export function bookLabel(ticker, nowMs) {
  const whole = feedLabel(nowMs);
  if (whole.state === "RESYNC") return whole;
  const label = feed.label(ticker, nowMs);
  return { ...label, why: LIFE[label.why] ?? label.why, ageMs: bookAge(label, whole) };
}

// While the stream is alive, a quiet market is as fresh as the last sign of life. Any other book is as old as what it
// last told of itself, and never younger than the way to it.
function bookAge(label, whole) {
  if (label.state === "LIVE" || label.ageMs === null) return whole.ageMs;
  return ["LIVE", "POLLED"].includes(whole.state) ? label.ageMs : Math.max(label.ageMs, whole.ageMs ?? 0);
}

// Draws into the label, the sentence beside it, and what a screen reader is told: each new word once, not each age.
// `recordedMs` is when what a replay shows was so; its time stands where the age of a live book stands.
export function drawBookState({ element, whyElement, saidElement }, label, { isReplay = false, recordedMs = null } = {}) {
  const word = isReplay && label.state === "LIVE" ? "REPLAY" : label.state;
  element.dataset.state = label.state;
  element.dataset.word = word;
  element.dataset.ageMs = label.ageMs === null ? "" : String(Math.round(label.ageMs));
  write(element.querySelector("[data-state-word]"), word);
  const isRecorded = word === "REPLAY" && recordedMs !== null;
  write(element.querySelector("[data-state-age]"), isRecorded ? clock(recordedMs) : age(label.ageMs));
  const why = label.why || (isRecorded ? `recorded ${dayClock(recordedMs)} ET, not the present; orders are not possible` : SENTENCES[word]);
  hint(element, SENTENCES[word]);
  write(saidElement, `The book is ${word}`);
  write(whyElement, word === "LIVE" ? "" : why);
  hint(whyElement, why);
}

function hint(element, text) {
  if (element.title !== text) element.title = text;
}
