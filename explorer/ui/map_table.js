// Runs once for a table of documents: a title chooses its document on the maps, a door opens it in another tab.
element.addEventListener('click', (event) => {
  const chosen = event.target.closest('[data-choose]');
  if (chosen) {
    const maps = document.querySelector('#map-view .map');
    if (maps) maps.dispatchEvent(new CustomEvent('map-choose', { bubbles: true, detail: { row: chosen.dataset.choose } }));
    return;
  }
  const door = event.target.closest('[data-door]');
  if (door) trigger('select', { document: door.dataset.document, door: door.dataset.door, variant: door.dataset.variant || '' });
});
