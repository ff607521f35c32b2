// When the artist's moves are painted: drafts while a slider moves, the whole picture once it is let go.

const DRAFT_EVERY_MS = 400;
const SETTLED_MS = 300;

export class PaintTimer {
  #paintDraft;
  #paintPicture;
  #timer = 0;
  #lastDraft = Number.NEGATIVE_INFINITY;

  constructor(paintDraft, paintPicture) {
    this.#paintDraft = paintDraft;
    this.#paintPicture = paintPicture;
  }

  moved() {
    const paint = () => {
      this.#lastDraft = Date.now();
      this.#paintDraft();
    };
    this.#after(this.#lastDraft + DRAFT_EVERY_MS - Date.now(), paint);
  }

  released() {
    this.#after(SETTLED_MS, this.#paintPicture);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  // Instead of what was due before.
  #after(milliseconds, paint) {
    this.stop();
    this.#timer = setTimeout(paint, Math.max(0, milliseconds));
  }
}
