// Takes in files and folders with the paths that they had: gradio's own field forgets in which folder a file lay.
const zone = element.querySelector('.zone'), said = element.querySelector('.zone-said');
const words = zone.dataset, stem = path => path.replace(/(\.preview)?\.[^.\/]*$/, '');
async function walk(entry, above, found, lost) {
  const path = above + entry.name;
  try {
    if (entry.isFile) { found.push([await new Promise((good, bad) => entry.file(good, bad)), path]); return; }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return;
      for (const one of some) await walk(one, path + '/', found, lost);
    }
  } catch (error) { lost.push(path); }
}
async function send(found, lost = []) {
  const styles = new Set(found.map(([, path]) => path).filter(path => /\.safetensors$/i.test(path)).map(stem));
  const folders = new Set(found.map(([, path]) => path).filter(path => /(^|\/)adapter_config\.json$/.test(path))
    .map(path => path.replace(/[^\/]*$/, '').replace(/\/$/, '')));
  // Of a folder only what belongs to styles; what was dropped by itself may be refused with its reason.
  const wanted = found.filter(([, path]) => !path.includes('/') || /(^|\/)adapter_config\.json$/.test(path)
    || /\.safetensors$/i.test(path) || styles.has(stem(path)) || folders.has(stem(path)));
  const files = [];
  for (const [file, path] of wanted) {
    said.textContent = words.sending.replace('{}', files.length + 1).replace('{}', wanted.length);
    try { files.push({path: (await upload(file)).path, name: path}); } catch (error) {
      if (/^HTTP 507/.test(error.message)) break; // there is no room, as the page has said, for the rest neither
      lost.push(path);
    }
  }
  said.textContent = wanted.length || lost.length ? '' : words.nothing;
  if (files.length || lost.length) trigger('arrived', {files, lost});
}
zone.addEventListener('dragover', event => { event.preventDefault(); zone.classList.add('over'); });
zone.addEventListener('dragleave', event => { if (!zone.contains(event.relatedTarget)) zone.classList.remove('over'); });
zone.addEventListener('drop', async event => {
  event.preventDefault(); zone.classList.remove('over');
  const found = [], lost = [];
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean);
  for (const entry of entries) await walk(entry, '', found, lost);
  await send(found, lost);
});
for (const input of element.querySelectorAll('input')) {
  input.addEventListener('change', async () => {
    const found = [...input.files].map(file => [file, file.webkitRelativePath || file.name]);
    input.value = '';
    await send(found);
  });
  element.querySelector('button[data-for=' + input.dataset.name + ']').addEventListener('click', () => input.click());
}
