// What the parts of the page tell each other, and ask the server.

export function announce(what, detail) {
  document.dispatchEvent(new CustomEvent(`atelier:${what}`, { detail }));
}

// The server's answer; null where it does not answer, so that a page that lost its server goes on trying.
export async function ask(question, about = {}) {
  try {
    return await question(about);
  } catch {
    return null;
  }
}

// This tab of this browser: what goes wrong is told to the page that asked for it. A reload keeps it.
export function pageId() {
  const key = "atelier.page";
  if (!sessionStorage.getItem(key)) sessionStorage.setItem(key, Math.random().toString(36).slice(2));
  return sessionStorage.getItem(key);
}
