// What the server's canvas (app/create/painter.py) says of what is being painted, without drawing.

import { filled } from "../words.js";

export const BLANK = { state: "blank", number: 0, pictures: [] };

export const isPainting = (canvas) => canvas.state === "preparing" || canvas.state === "painting";
// The model has not come to its next block yet.
export const isStopping = (canvas) => canvas.state === "stopping";
// A picture that was asked for, no draft, and none that follows a slider.
export const isAskedFor = (canvas) => isPainting(canvas) && canvas.kind === "asked";
export const isDraft = (canvas) => canvas.kind === "draft";
export const isOver = (canvas) => !isPainting(canvas) && !isStopping(canvas) && canvas.state !== "blank";

// The canvas once a picture was just asked for: a click is answered at once, and what the server says follows.
export function expecting(canvas, kind) {
  const fresh = { step: 0, steps: 0, share: 0, previews: [], notices: [], problem: "" };
  return { ...canvas, ...fresh, state: "preparing", kind };
}

export function stateWords(canvas, words) {
  const { step, steps } = canvas;
  switch (canvas.state) {
    case "painting":
      return filled(isDraft(canvas) ? words.draft_step : words.step, { step, steps });
    case "done":
      return isDraft(canvas) ? words.draft_done : words.done;
    case "resting":
      return canvas.notices?.[0] ?? "";
    case "preparing":
    case "stopping":
    case "stopped":
    case "failed":
      return words[canvas.state];
    default:
      return "";
  }
}

// The previews to show, none where the picture before says more: while one grows out of noise, the old one stays until the
// new one is better.
export function previewsOf(canvas, hasPicture) {
  if (!isPainting(canvas)) return [];
  const isEarly = canvas.kind === "live" && canvas.share < 0.5 && hasPicture;
  return isEarly ? [] : (canvas.previews ?? []);
}

// The pictures to show: those that are finished.
export function picturesOf(canvas) {
  return isPainting(canvas) && canvas.kind === "live" ? [] : (canvas.pictures ?? []);
}

// How many of `count` pictures of this shape side by side make them largest in a box.
export function acrossFor(count, { naturalWidth, naturalHeight }, { width, height }) {
  const scale = (across) => Math.min(width / across / naturalWidth, height / Math.ceil(count / across) / naturalHeight);
  let best = 1;
  for (let across = 2; across <= count; across += 1) if (scale(across) > scale(best) * 1.001) best = across;
  return best;
}
