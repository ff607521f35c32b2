// A tile opens its style; its star marks it.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const data = {style: button.closest('[data-style]').dataset.style};
  if (button.dataset.do === 'star') trigger('starred', {...data, on: button.getAttribute('aria-pressed') !== 'true'});
  else trigger('opened', data);
});
