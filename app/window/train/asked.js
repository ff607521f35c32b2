// Buttons inside drawn HTML: each says what it asks for. A preview is shown larger without asking anybody.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do !== 'larger') { trigger('asked', {...button.dataset}); return; }
  const dialog = document.createElement('dialog'), picture = button.querySelector('img').cloneNode();
  dialog.className = 'larger';
  dialog.append(picture);
  dialog.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => { dialog.remove(); button.focus(); });
  (element.closest('.gradio-container') || document.body).append(dialog);
  dialog.showModal();
});
