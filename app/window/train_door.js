// The door for artworks: files and folders that are dropped anywhere in the room, pasted or chosen.
const zone = element.querySelector('.zone'), said = element.querySelector('.zone-said'), words = zone.dataset;
const endings = new Set(words.endings.split(' '));
const wanted = file => endings.has((file.name.match(/\.[^.]*$/) || [''])[0].toLowerCase()) || file.type.startsWith('image/');
const here = () => zone.offsetParent !== null;
const within = (path) => path.slice(0, path.lastIndexOf('/') + 1);
const folders = new WeakMap(); // of files that were dropped; those that were chosen tell it themselves
const folderOf = file => folders.get(file) ?? within(file.webkitRelativePath);

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((good, bad) => entry.file(good, bad));
    folders.set(file, within(entry.fullPath));
    found.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return;
    for (const one of some) if (!one.name.startsWith('.')) await walk(one, found);
  }
}

async function send(found) {
  const chosen = found.filter(wanted), sent = new Map(); // by folder: a caption belongs to the picture beside it
  let count = 0;
  for (const file of chosen) {
    said.textContent = words.sending.replace('{}', count + 1).replace('{}', chosen.length);
    try {
      const {path} = await upload(file), folder = folderOf(file);
      sent.set(folder, [...(sent.get(folder) ?? []), path]);
      count += 1;
    } catch (error) { console.warn(file.name, error); }
  }
  said.textContent = !chosen.length ? words.nothing : count < chosen.length ? words.lost : '';
  if (count) trigger('arrived', {folders: [...sent.values()]});
}

const carriesFiles = event => here() && [...(event.dataTransfer?.types || [])].includes('Files');
const room = new AbortController();
function listen(name, react) {
  document.addEventListener(name, event => element.isConnected ? react(event) : room.abort(), {signal: room.signal});
}
// The whole room takes them: a picture dropped beside a small zone would else replace the page.
listen('dragover', event => { if (carriesFiles(event)) { event.preventDefault(); zone.classList.add('over'); } });
listen('dragleave', event => { if (!event.relatedTarget) zone.classList.remove('over'); });
listen('drop', async event => {
  zone.classList.remove('over');
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean), found = [];
  for (const entry of entries) await walk(entry, found);
  await send(found);
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
