// While the page loads, gradio counts the seconds, a step for each frame, and goes on with it for ever after: the part
// that counts is taken away before it is told to stop. So it does not begin.
(() => {
  const frame = window.requestAnimationFrame.bind(window), counts = /performance\.now\(\)\s*-/;
  let loaded = false;
  window.requestAnimationFrame = step => {
    loaded ||= document.querySelector('[role="tab"]') !== null;
    return loaded || !counts.test(step) ? frame(step) : 0;
  };
})();
