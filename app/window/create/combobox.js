// What a combobox knows: the choices for the words typed last, and which of them is marked. Without drawing.

export class Combobox {
  choices = [];
  active = -1;
  isOpen = false;
  // What the server said of the choices, such as how many more there are.
  answer = { choices: [] };
  // The words that the choices are for.
  words = null;
  #search;
  #turn = 0;

  // `search(words)` answers with {choices, problem, ...}.
  constructor(search) {
    this.#search = search;
  }

  // Look the words up and answer with what there is for them. It becomes what is shown, unless that was overtaken by
  // other words or by closing.
  async look(words) {
    this.#turn += 1;
    const turn = this.#turn;
    const answer = await this.#search(words);
    if (turn === this.#turn) {
      this.words = words;
      this.answer = answer;
      this.choices = answer.choices;
      this.active = this.choices.length && words ? 0 : -1;
      this.isOpen = true;
    }
    return answer;
  }

  // Mark the next choice (1) or the one before (-1), round and round.
  move(step) {
    this.active = (this.active + step + this.choices.length) % Math.max(1, this.choices.length);
  }

  close() {
    this.#turn += 1;
    this.isOpen = false;
    this.words = null;
  }

  // What is chosen with these words: the one that is marked, or where the choices are not yet those for the words, the
  // first one for them. Answers with {choice} or {problem}, or with neither where nothing is chosen.
  async chosen(words, problemOfNone) {
    if (this.isOpen && this.words === words && this.choices.length) return { choice: this.choices[this.active] };
    const { choices, problem } = await this.look(words);
    if (problem) return { problem };
    if (!words) return {};
    return choices.length ? { choice: choices[0] } : { problem: problemOfNone };
  }
}
