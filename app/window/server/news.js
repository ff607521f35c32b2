// Asks in one small request what has changed, and tells the rooms of it. Nothing of the document changes by that.
// Sooner while something happens, at rest now and then, and not at all while nobody sees the page.

import { announce } from "../messages.js";

const QUICK_MS = 1000;
const CALM_MS = 5000;
const BUSY_MS = 10000;
const BEAT_MS = 5000;

// The subjects whose word is another one than before; of a server that is away (null), that it is.
export function changedSubjects(before, now) {
  if (!now) return ["server"];
  return before ? Object.keys(now).filter((subject) => now[subject] !== before[subject]) : [];
}

export function mount({ element, trigger }) {
  const news = new News(() => element.isConnected && !document.hidden);
  for (const kind of ["pointerdown", "keydown", "drop"]) document.addEventListener(kind, () => news.expectSoon(), true);
  document.addEventListener("visibilitychange", () => news.ask());
  keepAnswersComing(() => trigger("beat"));
  news.ask();
}

class News {
  #isSeen;
  #words = null;
  #busyUntil = 0;
  #timer = 0;
  #isAsking = false;

  // Nothing is asked while `isSeen()` is false; who makes it true again asks.
  constructor(isSeen) {
    this.#isSeen = isSeen;
  }

  async ask() {
    clearTimeout(this.#timer);
    if (this.#isAsking || !this.#isSeen()) return;
    this.#isAsking = true;
    const now = await fetchWords();
    this.#isAsking = false;
    const changed = changedSubjects(this.#words, now);
    this.#words = now ?? this.#words;
    if (changed.length) {
      this.#busyUntil = Math.max(this.#busyUntil, Date.now() + 2 * QUICK_MS);
      announce("news", changed);
    }
    this.#askIn(Date.now() < this.#busyUntil ? QUICK_MS : CALM_MS);
  }

  // Whoever does something will see soon what comes of it.
  expectSoon() {
    const isCalm = Date.now() > this.#busyUntil;
    this.#busyUntil = Date.now() + BUSY_MS;
    if (isCalm) this.#askIn(QUICK_MS / 2);
  }

  #askIn(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), milliseconds);
  }
}

// Of each subject a word that changes with it; null where the server is away.
async function fetchWords() {
  try {
    const answer = await fetch(new URL("news", document.baseURI));
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// Gradio closes the stream of answers when none is due; what is asked in that moment would wait for ever. The next question
// opens the stream again, with all answers that wait, so some time after the last one another is asked, of nothing.
function keepAnswersComing(beat) {
  let beats = 0;
  let timer = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!entry.name.includes("/queue/join")) continue;
      if (beats) {
        // Our own.
        beats -= 1;
        continue;
      }
      clearTimeout(timer);
      timer = setTimeout(() => {
        beats += 1;
        beat();
      }, BEAT_MS);
    }
  });
  observer.observe({ type: "resource" });
}
