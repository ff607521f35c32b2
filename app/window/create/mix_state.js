// The styles of a mix and how each is heard, without drawing. The server reads {rows, mode} (app/create/mix_form.py).

// No style is heard beyond it at any step: the server takes no more.
export const MOST_HEARD = 4;

// The nearest weight that a style with this schedule can have.
export function bounded(row, weight) {
  const peak = Math.max(1, ...(row.schedule ?? []).map(([, factor]) => Math.abs(factor)));
  const most = MOST_HEARD / peak;
  return Math.min(most, Math.max(-most, weight));
}

export class Mix {
  rows = [];
  mode = "sum";
  #lookUp;
  #words;
  #mostRows;
  #cards = new Map(); // what the library says of the styles, by id
  #additions = new Set(); // ids of styles that were added since a mix was last put here
  #alone = ""; // the one of them that is to be heard alone
  #puts = 0;
  #lastPut = 0;

  // `lookUp(style, name)` answers with the card of a style as the library has it now, or null where the server is away.
  constructor(lookUp, words, mostRows) {
    this.#lookUp = lookUp;
    this.#words = words;
    this.#mostRows = mostRows;
  }

  // A copy of what the server reads.
  value() {
    return JSON.parse(JSON.stringify({ rows: this.rows, mode: this.mode }));
  }

  card(row) {
    return this.#cards.get(row.style);
  }

  nameOf(row) {
    return this.card(row)?.name || row.name || row.style.slice(0, 12);
  }

  // It is not here, or can't be read, and is not painted with.
  isLost(row) {
    return Boolean(this.card(row)?.missing || this.card(row)?.problem);
  }

  isHeard(row) {
    const alone = this.rows.some((one) => one.solo && !this.isLost(one));
    return !this.isLost(row) && !row.muted && (row.solo || !alone) && row.weight !== 0;
  }

  // Another mix is on its way here: this one is not the artist's any more.
  get isComing() {
    return this.#lastPut < this.#puts;
  }

  get isFull() {
    return this.rows.length >= this.#mostRows;
  }

  // The styles that have a trigger word.
  get wordedRows() {
    return this.rows.filter((row) => this.card(row)?.trigger);
  }

  wordIsUsed(row) {
    return row.word && this.isHeard(row) && row.weight > 0;
  }

  // What the blend pad shows.
  get padRows() {
    const rows = this.rows.filter((row) => !row.muted && !this.isLost(row));
    return rows.map((row) => ({ style: row.style, weight: row.weight, name: this.nameOf(row) }));
  }

  setWeights(weights) {
    for (const row of this.rows) if (row.style in weights) row.weight = bounded(row, weights[row.style]);
  }

  remove(row) {
    this.rows = this.rows.filter((one) => one !== row);
  }

  // Answers with what went wrong, in words, or with "".
  async add(style) {
    const card = await this.#lookUp(style, "");
    const problem = this.#problemOf(card);
    if (problem || this.rows.some((row) => row.style === card.id)) return problem;
    if (this.isFull) return this.#words.full.replace("{count}", this.#mostRows);
    this.rows.push(this.#newRow(card, this.rows.length ? card.weight / 2 : card.weight));
    return "";
  }

  // Add a style that was just made, alone and whole: the others are muted. Answers as `add` does.
  async addAlone(style) {
    const card = await this.#lookUp(style, "");
    const problem = this.#problemOf(card);
    if (problem) return problem;
    this.#alone = card.id;
    const others = this.rows.filter((row) => row.style !== card.id);
    this.rows = this.#withAloneFirst([...others, this.#newRow(card, card.weight)]);
    return "";
  }

  #withAloneFirst(rows) {
    const others = rows.filter((row) => row.style !== this.#alone);
    if (others.length < rows.length) for (const row of others) Object.assign(row, { muted: true, solo: false });
    return [...rows.filter((row) => row.style === this.#alone), ...others].slice(0, this.#mostRows);
  }

  #problemOf(card) {
    return card ? (card.problem ?? card.missing ?? "") : this.#words.no_server;
  }

  #newRow(card, weight) {
    this.#cards.set(card.id, card);
    this.#additions.add(card.id);
    const knobs = { weight, muted: false, solo: false, composition: 1, texture: 1, schedule: null, word: true };
    return { style: card.id, name: card.name, ...knobs };
  }

  // Put another mix in place of this one once its styles are known, and tell whether that was done: not where yet another
  // one came meanwhile. What the artist adds meanwhile stays, and what was added before the page was `restored`, that is,
  // had the artist's last mix back.
  async put(value, restored = true) {
    this.#puts += 1;
    const turn = this.#puts;
    if (restored) {
      this.#additions.clear();
      this.#alone = "";
    }
    const rows = (value.rows ?? []).map((row) => ({ ...row }));
    for (const row of rows) if (!this.card(row)) await this.#follow(row);
    if (turn !== this.#puts) return false;
    this.#lastPut = turn;
    const added = this.rows.filter((row) => this.#additions.has(row.style));
    this.rows = this.#withAloneFirst(unique([...rows, ...added]));
    this.mode = value.mode ?? this.mode;
    for (const row of this.rows) row.name = this.nameOf(row);
    return true;
  }

  // Look all styles up once more: they may have been changed or taken away.
  async refresh() {
    for (const row of [...this.rows]) {
      await this.#follow(row);
      row.name = this.nameOf(row);
    }
    this.rows = unique(this.rows);
  }

  // One that was made anew is followed by its name, and what is said of that stays: the next look finds the style by its new
  // id, and has nothing to say.
  async #follow(row) {
    const card = await this.#lookUp(row.style, row.name ?? "");
    if (!card) return;
    row.style = card.id ?? row.style;
    const note = card.note || this.card(row)?.note;
    this.#cards.set(row.style, { ...card, id: row.style, note });
  }

  // Whether the styles are what the server has: `here` holds [id, name] by the id that was asked for, of those that are there.
  isAsOn(here) {
    return this.rows.every((row) => {
      const [id, name] = here[row.style] ?? [];
      return this.isLost(row) ? id === undefined : id === row.style && name === this.nameOf(row);
    });
  }
}

const unique = (rows) => rows.filter((row, place) => rows.findIndex((one) => one.style === row.style) === place);
