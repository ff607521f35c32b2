// The blend pad: two styles on a line, three in a triangle, four in a square; the nearer to a style, the more of it.

const CORNERS = {
  2: [[0, 1], [1, 1]],
  3: [[0.5, 0], [0, 1], [1, 1]],
  4: [[0, 0], [1, 0], [0, 1], [1, 1]],
};

// The shares of the styles at a place, each 0 to 1, one in all.
function sharesAt(x, y, count) {
  if (count === 2) return [1 - x, x];
  if (count === 4) return [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
  const right = x - 0.5 * (1 - y); // barycentric; y is the distance from the top
  const shares = [1 - y, y - right, right].map((share) => Math.max(0, share)); // back into the triangle
  const all = shares[0] + shares[1] + shares[2];
  return shares.map((share) => share / all);
}

// The place where the styles have these shares; of four styles the nearest one.
function placeOf(shares) {
  const corners = CORNERS[shares.length];
  return [0, 1].map((axis) => shares.reduce((sum, share, corner) => sum + share * corners[corner][axis], 0));
}

function blendPad(words, put) {
  const WIDTH = 260, MARGIN = 22, KEY_STEP = 0.05, LONGEST = 15; // of a name, in letters
  let rows = [], place = [0.5, 0.5], all = 1, held = false;
  const ground = el("svg:g", {}), puck = el("svg:circle", { r: 11, class: "puck" });
  const drawn = el("svg:svg", {
    class: "pad", tabindex: "0", role: "slider", "aria-label": words.pad, "aria-valuemin": "0", "aria-valuemax": "100",
    onpointerdown: (event) => { held = true; drawn.setPointerCapture(event.pointerId); drag(event, false); },
    onpointermove: (event) => { if (held) drag(event, false); },
    onpointerup: (event) => { if (held) { held = false; drag(event, true); } },
    onpointercancel: () => { held = false; },
    onkeydown: keyed,
  }, ground, puck);
  const note = el("p", { class: "quiet" });
  const element = el("div", { class: "pad-box" }, drawn, note);

  const height = () => (rows.length === 2 ? 66 : 200);
  const seen = ([x, y]) => [MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (height() - 2 * MARGIN)];

  function go(x, y, done) {
    const clipped = [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
    const shares = sharesAt(...clipped, rows.length);
    place = placeOf(shares);
    held = held && !done;
    put(Object.fromEntries(rows.map((row, corner) => [row.style, Math.round(all * shares[corner] * 1000) / 1000])), done);
    draw(shares);
  }

  function drag(event, done) {
    const box = drawn.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH, y = ((event.clientY - box.top) / box.height) * height();
    go((x - MARGIN) / (WIDTH - 2 * MARGIN), (y - MARGIN) / (height() - 2 * MARGIN), done);
  }

  function keyed(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go(place[0] + step[0] * KEY_STEP, place[1] + step[1] * KEY_STEP, true);
  }

  function draw(shares) {
    const [x, y] = seen(place);
    puck.setAttribute("cx", x);
    puck.setAttribute("cy", y);
    drawn.setAttribute("aria-valuenow", String(Math.round(100 * shares[0])));
    drawn.setAttribute("aria-valuetext", rows.map((row, corner) => `${row.name} ${Math.round(100 * shares[corner])} %`).join(", "));
  }

  function frame() {
    const corners = CORNERS[rows.length].map(seen);
    const outline = rows.length === 4 ? [0, 1, 3, 2] : [...corners.keys()];
    ground.replaceChildren(
      el("svg:polygon", { points: outline.map((corner) => corners[corner].join(",")).join(" ") }),
      ...corners.map(([x, y], corner) => el("svg:g", {},
        el("svg:circle", { cx: x, cy: y, r: 4, class: "corner" }),
        el("svg:text", {
          x: Math.min(Math.max(x, 4), WIDTH - 4), y: rows.length === 2 ? y - 16 : y < height() / 2 ? y - 9 : y + 17,
          "text-anchor": x < WIDTH / 3 ? "start" : x > (WIDTH * 2) / 3 ? "end" : "middle",
        }, rows[corner].name.length > LONGEST ? `${rows[corner].name.slice(0, LONGEST - 1)}…` : rows[corner].name))),
    );
    drawn.setAttribute("viewBox", `0 0 ${WIDTH} ${height()}`);
  }

  // Show the styles that are heard; while the puck is held, it is the puck that says where it is.
  function show(now) {
    const same = now.length === rows.length && now.every((row, corner) => row.style === rows[corner].style && row.name === rows[corner].name);
    rows = now;
    element.hidden = rows.length < 2;
    const fits = rows.length >= 2 && rows.length <= 4;
    drawn.toggleAttribute("hidden", !fits);
    drawn.style.display = fits ? "" : "none";
    note.textContent = fits ? words.pad_help : words.pad_many;
    if (!fits) return;
    if (!same || !ground.childNodes.length) frame();
    if (held) return;
    const weights = rows.map((row) => Math.max(0, row.weight)), sum = weights.reduce((one, other) => one + other, 0);
    if (sum > 0) all = sum;
    const shares = weights.map((weight) => (sum > 0 ? weight / sum : 1 / rows.length));
    place = placeOf(shares);
    draw(shares);
  }

  return { element, show };
}
