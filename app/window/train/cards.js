// The cards of the artworks: a caption is kept when one leaves its field, a cross takes the artwork out.
element.addEventListener('change', event => {
  const name = event.target.closest('[data-name]')?.dataset.name;
  if (!name) return;
  event.target.setAttribute('value', event.target.value);  // what the next drawing of the page compares with
  trigger('caption', {name, text: event.target.value});
});
element.addEventListener('click', event => {
  const cross = event.target.closest('.leave');
  if (cross) trigger('taken_out', {name: cross.closest('[data-name]').dataset.name});
});
