// Two things that gradio leaves to the next frame, and that must not happen then:
// - While the page loads, it counts the seconds, a step for each frame, and goes on with it for ever after: the part that
//   counts is taken away before it is told to stop. So it does not begin.
// - What is folded out, and a tab that is opened, is given its values again once the next frame comes, over what was typed
//   meanwhile. It waits for that frame by a promise alone, which is kept at once: before the next key can arrive.
(() => {
  const frame = window.requestAnimationFrame.bind(window), counts = /performance\.now\(\)\s*-/;
  const isPromise = step => step.name === "" && /\{\s*\[native code\]\s*\}$/.test(step);
  let loaded = false;
  window.requestAnimationFrame = step => {
    loaded ||= document.querySelector('[role="tab"]') !== null;
    if (isPromise(step)) step(performance.now());
    else if (loaded || !counts.test(step)) return frame(step);
    return 0;
  };
})();
