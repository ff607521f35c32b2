// The answers to the cards of what waits to be imported.
let answered = false;
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const data = {number: Number(button.closest('[data-number]').dataset.number)};
  answered = true;
  if (button.dataset.do === 'bring') trigger('bring', data); else trigger('leave', data);
});
watch('value', () => { if (answered) element.querySelector('button')?.focus(); answered = false; });
