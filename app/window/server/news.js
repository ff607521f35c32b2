// Asks in one small request what has changed, and tells the rooms of it. Nothing of the document changes by that.
// Sooner while something happens, at rest now and then, and not at all while nobody sees the page.
const QUICK_MS = 1000, CALM_MS = 5000, BUSY_MS = 10000, BEAT_MS = 5000;
let known = null, busyUntil = 0, later = 0, asking = false;
const address = new URL('news', document.baseURI);

async function ask() {
  clearTimeout(later);
  if (asking || !element.isConnected) return;
  if (document.hidden) return; // asked again when it is seen
  asking = true;
  let now = null;
  try {
    const answer = await fetch(address);
    if (answer.ok) now = await answer.json();
  } catch (error) { /* the server is away: told below */ }
  asking = false;
  const before = known ?? now;
  const changed = now ? Object.keys(now).filter(subject => now[subject] !== before[subject]) : ['server'];
  if (now) known = now;
  if (changed.length) {
    busyUntil = Math.max(busyUntil, Date.now() + 2 * QUICK_MS);
    document.dispatchEvent(new CustomEvent('atelier:news', {detail: changed}));
  }
  later = setTimeout(ask, Date.now() < busyUntil ? QUICK_MS : CALM_MS);
}

// Whoever does something will see soon what comes of it.
function busy() {
  const calm = Date.now() > busyUntil;
  busyUntil = Date.now() + BUSY_MS;
  if (calm) { clearTimeout(later); later = setTimeout(ask, QUICK_MS / 2); }
}
for (const kind of ['pointerdown', 'keydown', 'drop']) document.addEventListener(kind, busy, true);
document.addEventListener('visibilitychange', ask);

// Gradio closes the stream of answers when none is due; what is asked in that moment would wait for ever. The next
// question opens the stream again, with all answers that wait, so some time after the last one another is asked, of
// nothing.
let beats = 0, beating = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    if (!entry.name.includes('/queue/join')) continue;
    if (beats) { beats -= 1; continue; } // our own
    clearTimeout(beating);
    beating = setTimeout(() => { beats += 1; trigger('beat'); }, BEAT_MS);
  }
}).observe({type: 'resource'});
ask();
