// The door for artworks: files and folders that are dropped anywhere in the room, pasted or chosen.
const zone = element.querySelector('.zone'), said = element.querySelector('.zone-said'), words = zone.dataset;
const endings = new Set(words.endings.split(' '));
const wanted = file => endings.has((file.name.match(/\.[^.]*$/) || [''])[0].toLowerCase()) || file.type.startsWith('image/');
const here = () => zone.offsetParent !== null;
const within = (path) => path.slice(0, path.lastIndexOf('/') + 1);
const folders = new WeakMap(); // of files that were dropped; those that were chosen tell it themselves
const folderOf = file => folders.get(file) ?? within(file.webkitRelativePath);

async function walk(entry, found) { // to how many files or folders could not be read
  let unread = 0;
  try {
    if (entry.isFile) {
      const file = await new Promise((good, bad) => entry.file(good, bad));
      folders.set(file, within(entry.fullPath));
      found.push(file);
      return 0;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return unread;
      for (const one of some) if (!one.name.startsWith('.')) unread += await walk(one, found);
    }
  } catch (error) { console.warn(entry.fullPath, error); return unread + 1; }
}

async function send(found, unread = 0) {
  const chosen = found.filter(wanted), sent = new Map(); // by folder: a caption belongs to the picture beside it
  let count = 0;
  for (const file of chosen) {
    said.textContent = words.sending.replace('{}', count + 1).replace('{}', chosen.length);
    try {
      const {path} = await upload(file), folder = folderOf(file);
      sent.set(folder, [...(sent.get(folder) ?? []), path]);
      count += 1;
    } catch (error) {
      console.warn(file.name, error);
      if (/^HTTP 507/.test(error.message)) break; // there is no room, as the page has said, for the rest neither
    }
  }
  said.textContent = unread || count < chosen.length ? words.lost : chosen.length ? '' : words.nothing;
  if (count) trigger('arrived', {folders: [...sent.values()]});
}

const carriesFiles = event => here() && [...(event.dataTransfer?.types || [])].includes('Files');
const room = new AbortController();
function listen(name, react) {
  document.addEventListener(name, event => element.isConnected ? react(event) : room.abort(), {signal: room.signal});
}
// In whatever room: a file that is dropped where nothing takes it would replace the page.
for (const name of ['dragover', 'drop']) {
  listen(name, event => { if ([...(event.dataTransfer?.types || [])].includes('Files')) event.preventDefault(); });
}
// The whole room takes them, not a small zone alone.
listen('dragover', event => { if (carriesFiles(event)) { event.preventDefault(); zone.classList.add('over'); } });
listen('dragleave', event => { if (!event.relatedTarget) zone.classList.remove('over'); });
listen('drop', async event => {
  zone.classList.remove('over');
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean), found = [];
  let unread = 0;
  for (const entry of entries) unread += await walk(entry, found);
  await send(found, unread);
});
listen('paste', event => {
  const files = [...(event.clipboardData?.files || [])];
  if (here() && files.length) { event.preventDefault(); send(files); }
});
for (const input of element.querySelectorAll('input')) {
  input.addEventListener('change', async () => {
    const found = [...input.files];
    input.value = '';
    await send(found);
  });
  element.querySelector(`button[data-for=${input.dataset.name}]`).addEventListener('click', () => input.click());
}
