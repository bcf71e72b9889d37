// Runs once for the component; `element` is its root and stays while its content is replaced.
const mark = (doc, name, on) => {
  element.querySelectorAll('.hit').forEach((hit) => {
    if (hit.dataset.doc === doc) hit.classList.toggle(name, on);
  });
};
let hovered = null;
const hover = (target) => {
  const hit = target && target.closest ? target.closest('.hit[data-doc]') : null;
  const doc = hit ? hit.dataset.doc : null;
  if (doc === hovered) return;
  if (hovered !== null) mark(hovered, 'same', false);
  if (doc !== null) mark(doc, 'same', true);
  hovered = doc;
};
element.addEventListener('mouseover', (event) => hover(event.target));
element.addEventListener('mouseleave', () => hover(null));
element.addEventListener('focusin', (event) => hover(event.target));
const keep = (hit) => {
  const on = !hit.classList.contains('kept');
  element.querySelectorAll('.hit.kept').forEach((other) => other.classList.remove('kept'));
  mark(hit.dataset.doc, 'kept', on);
};
element.addEventListener('keydown', (event) => {
  if ((event.key === 'Enter' || event.key === ' ') && event.target.matches('.hit[data-doc]')) {
    event.preventDefault();
    keep(event.target);
  }
});
element.addEventListener('click', (event) => {
  const judge = event.target.closest('[data-judge]');
  if (judge) {
    const pressed = judge.getAttribute('aria-pressed') === 'true';
    trigger('click', { document: judge.dataset.doc, grade: pressed ? null : Number(judge.dataset.judge) });
    return;
  }
  const why = event.target.closest('[data-why]');
  if (why) {
    trigger('select', { document: why.dataset.why, variant: why.dataset.variant });
    return;
  }
  const query = event.target.closest('[data-query]');
  if (query) {
    trigger('click', { query: query.dataset.query });
    return;
  }
  const hit = event.target.closest('.hit[data-doc]');
  if (hit && !event.target.closest('summary, details')) keep(hit);
});
