// The label that says how far a market's book may be believed, and the sentence beside it.

import { write } from "./dom.js";
import { age } from "./format.js";
import { feed, feedLabel } from "./page.js";

const SENTENCES = {
  LIVE: "every change arrives by the stream",
  STALE: "nothing is heard; prices may have moved, clicks are dead",
  RESYNC: "a fresh snapshot is on its way",
  DOWN: "no connection; cancel still works",
  POLLED: "the stream is refused; the book is asked for every few seconds",
  PAUSED: "the exchange has paused trading here",
  CLOSED: "trading has ended",
  REPLAY: "a recorded book, not the present; orders are not possible",
};

// {state, why, ageMs}: a replayed market that is otherwise live says REPLAY as its word, but keeps its state.
export function bookLabel(ticker, nowMs) {
  const whole = feedLabel(nowMs);
  if (whole.state === "RESYNC") return whole;
  const label = feed.label(ticker, nowMs);
  // While the way up is alive, a quiet market is as fresh as the last sign of life; when it is not, its age is ours.
  const isOwn = whole.state === "LIVE" && label.state !== "LIVE";
  const ageMs = (isOwn ? label.ageMs : whole.ageMs) ?? whole.ageMs;
  return { ...label, ageMs };
}

// Draws into the label, the sentence beside it, and what a screen reader is told: each new word once, not each age.
export function drawBookState({ element, whyElement, saidElement }, label, { isReplay = false } = {}) {
  const word = isReplay && label.state === "LIVE" ? "REPLAY" : label.state;
  element.dataset.state = label.state;
  element.dataset.word = word;
  element.dataset.ageMs = label.ageMs === null ? "" : String(Math.round(label.ageMs));
  write(element.querySelector("[data-state-word]"), word);
  write(element.querySelector("[data-state-age]"), age(label.ageMs));
  const why = label.why || SENTENCES[word];
  element.title = SENTENCES[word];
  write(saidElement, `The book is ${word}`);
  write(whyElement, word === "LIVE" ? "" : why);
}
