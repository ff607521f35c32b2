// What gradio leaves to chance.
//
// Two things it leaves to the next frame, and they must not happen then:
// - While the page loads, it counts the seconds, a step for each frame, and goes on with it for ever after: the part that
//   counts is taken away before it is told to stop. So it does not begin.
// - What is folded out, and a tab that is opened, is given its values again once the next frame comes, over what was typed
//   meanwhile. It waits for that frame by a promise alone, which is kept at once: before the next key can arrive.
//
// And it asks the server by one connection for each question, of which a later one may come first: one waits for the other.

// Whether a step is the resolve function of a promise.
export const isPromise = (step) => step.name === "" && /\{\s*\[native code\]\s*\}$/.test(step);
export const countsSeconds = (step) => /performance\.now\(\)\s*-/.test(step);

// `frame` is the browser's requestAnimationFrame; the one to use in its place.
export function frameForGradio(frame, isLoaded) {
  return (step) => {
    if (isPromise(step)) step(performance.now());
    else if (isLoaded() || !countsSeconds(step)) return frame(step);
    return 0;
  };
}

// Put it in the browser's place, before gradio's own scripts.
export function guardFrames() {
  let loaded = false;
  const isLoaded = () => {
    loaded ||= document.querySelector('[role="tab"]') !== null;
    return loaded;
  };
  window.requestAnimationFrame = frameForGradio(window.requestAnimationFrame.bind(window), isLoaded);
}

// A question that stays on its way for longer is overtaken.
const PATIENCE_MS = 2000;

// `fetch` is the browser's; the one to use in its place, which asks in turn for what has one of these paths.
export function fetchInTurn(fetch, paths, patienceMs = PATIENCE_MS) {
  const latest = new Map();
  return (question, about) => {
    const path = paths.find((one) => String(question.url ?? question).includes(one));
    if (!path) return fetch(question, about);
    const ask = () => fetch(question, about);
    const enough = latest.has(path) ? new Promise((done) => setTimeout(done, patienceMs)) : null;
    const answer = Promise.race([latest.get(path), enough]).then(ask, ask);
    latest.set(path, answer);
    return answer;
  };
}

export function guardQuestions() {
  window.fetch = fetchInTurn(window.fetch.bind(window), ["/queue/join", "/run/predict"]);
}
