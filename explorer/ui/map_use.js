// What a person does with the maps: filter by the legend, select, hover, move, search. Stands after map.js.

// ------------------------------------------------------------------------------------------------------------- legend

function drawLegend() {
  legend.replaceChildren();
  const title = document.createElement('b');
  title.textContent = shade.title;
  legend.append(title);
  const counts = shade.names.map(() => 0);
  shade.codes.forEach((codes) => codes.forEach((code) => { counts[code] += 1 / shade.codes.length; }));
  shade.names.forEach((name, code) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.code = code;
    button.setAttribute('aria-pressed', String(!hidden.has(code)));
    const dot = document.createElement('i'), text = document.createElement('span'), count = document.createElement('small');
    dot.style.background = shade.colours[code];
    dot.className = `map-dot ${shade.symbols[code]}`;
    text.textContent = name;
    count.textContent = Math.round(counts[code]).toLocaleString('en');
    button.append(dot, text, count);
    legend.append(button);
  });
  if (shade.names.length > 1) {
    const all = document.createElement('button');
    all.type = 'button';
    all.className = 'map-all';
    all.textContent = 'show all';
    legend.append(all);
  }
  if (shade.note) {
    const note = document.createElement('p');
    note.className = 'help';
    note.textContent = shade.note;
    legend.append(note);
  }
}
legend.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || !shade) return;
  if (button.className === 'map-all') hidden = new Set();
  else {
    const code = Number(button.dataset.code);
    // The first click shows one alone, for that is what most want; further clicks add and take away.
    if (!hidden.size) shade.names.forEach((_, other) => { if (other !== code) hidden.add(other); });
    else if (hidden.has(code)) hidden.delete(code);
    else hidden.add(code);
    if (hidden.size === shade.names.length) hidden = new Set();
  }
  legend.querySelectorAll('[data-code]').forEach((b) => b.setAttribute('aria-pressed', String(!hidden.has(Number(b.dataset.code)))));
  stale = true;
  paint();
});

// ---------------------------------------------------------------------------------------------------------- selecting

async function light(rows, focus, why) {
  lit = { rows, focus, near: {}, why };
  if (!why.startsWith('hold')) tell('');
  stale = true;
  paint();
  find('.map-clear').disabled = !rows.length;
  stage.dataset.lit = rows.length;
  trigger('select', { key: view.key, rows: rows.slice(0, SENT_MOST), total: rows.length, why });
  if (focus === null) return;
  const key = view.key;
  try {
    const near = await ask('near', { key, row: focus });
    if (lit.focus === focus && view.key === key) { lit.near = near; stale = true; paint(); }
  } catch (error) { tell(error.message); }
}
function choose(row, add) {
  if (row === null) return;
  if (add && lit.rows.length) {
    const rows = lit.rows.includes(row) ? lit.rows.filter((other) => other !== row) : [...lit.rows, row];
    light(rows, rows.length === 1 ? rows[0] : null, 'chosen');
  } else light([row], row, 'chosen');
}
async function search() {
  const text = box.value.trim();
  if (!view) return;
  if (!text) { light([], null, ''); tell(''); return; }
  const key = view.key;
  try {
    const { rows } = await ask('find', { key, text });
    if (view.key !== key) return;
    tell(rows.length ? `${rows.length.toLocaleString('en')} documents hold “${text}”.` : `No document holds “${text}”.`);
    light(rows, rows.length === 1 ? rows[0] : null, `hold “${text}”`);
  } catch (error) { tell(error.message); }
}

let tipping = 0;
async function hover(row, where) {
  if (row === hovered) return;
  hovered = row;
  paint();
  clearTimeout(tipping);
  tip.hidden = true;
  if (row === null) return;
  const show = () => {
    const found = texts.get(row);
    if (!found || hovered !== row) return;
    const title = document.createElement('b'), small = document.createElement('small');
    title.textContent = found.title;
    small.textContent = [found.label, found.text].filter(Boolean).join(' · ');
    tip.replaceChildren(title, small);
    tip.hidden = false;
    const wide = Math.min(300, stage.clientWidth - 12);
    tip.style.width = `${wide}px`;
    tip.style.left = `${Math.max(4, Math.min(where[0] + 14, stage.clientWidth - wide - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(where[1] + 14, stage.clientHeight - 90))}px`;
  };
  if (texts.has(row)) { show(); return; }
  const key = view.key;
  tipping = setTimeout(async () => {
    try {
      const found = await ask('about', { key, rows: [row] }, () => hovered === row);
      if (view.key !== key) return;
      found.documents.forEach((document) => texts.set(document.row, document));
      show();
    } catch (error) { tell(error.message); }
  }, 90);
}

// ----------------------------------------------------------------------------------------------------------- gestures

const pointers = new Map(); // id -> where it is on the stage
let gesture = null;         // {panel, start, moved, touch}
let lasso = null;           // {panel, line}

const whereIs = (event) => {
  const frame = stage.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
};
const panelAt = ([x, y]) => panels.findIndex((p) => x >= p.x && x < p.x + p.size && y >= p.y && y < p.y + p.size);
const rowAt = (i, where, reach) => {
  const [x, y] = position(i, where);
  return nearestRow(maps[i], x, y, reach / scale(), admits(i));
};
function zoomBy(factor, i, where) {
  const before = where ? position(i, where) : [camera.x, camera.y];
  const zoom = Math.max(0.5, Math.min(DEEPEST, camera.zoom * factor)), kept = camera.zoom / zoom;
  // What is under the pointer stays there.
  camera = { x: before[0] + (camera.x - before[0]) * kept, y: before[1] + (camera.y - before[1]) * kept, zoom };
  paint();
}
function moveBy(dx, dy) {
  camera = { ...camera, x: camera.x - dx / scale(), y: camera.y + dy / scale() };
  paint();
}
const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

stage.addEventListener('pointerdown', (event) => {
  const where = whereIs(event), panel = panelAt(where);
  if (!view || panel < 0 || event.button) return;
  pointers.set(event.pointerId, where);
  stage.setPointerCapture(event.pointerId);
  hover(null);
  if (pointers.size > 1) { gesture.moved = true; lasso = null; return; }
  gesture = { panel, start: where, moved: false, touch: event.pointerType === 'touch' };
  if (mode === 'lasso') lasso = { panel, line: [where] };
});
stage.addEventListener('pointermove', (event) => {
  if (!view || !panels[0]) return;
  const where = whereIs(event), before = pointers.get(event.pointerId);
  if (!before) {
    const panel = event.pointerType === 'touch' ? -1 : panelAt(where);
    hover(panel < 0 ? null : rowAt(panel, where, 9), where);
    return;
  }
  if (!gesture.moved && apart(where, gesture.start) < (gesture.touch ? 9 : 4)) return;
  gesture.moved = true;
  pointers.set(event.pointerId, where);
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const from = middle(before, other), to = middle(where, other);
    moveBy(to[0] - from[0], to[1] - from[1]);
    zoomBy(apart(where, other) / Math.max(1, apart(before, other)), gesture.panel, to);
  } else if (mode === 'pan') moveBy(where[0] - before[0], where[1] - before[1]);
  else if (lasso) { lasso.line.push(where); paint(); }
});
stage.addEventListener('pointerup', (event) => {
  if (!pointers.delete(event.pointerId) || pointers.size) return;
  const { panel, start, moved, touch } = gesture, line = lasso && lasso.line;
  lasso = null;
  if (!moved) choose(rowAt(panel, start, touch ? 18 : 10), event.shiftKey);
  else if (line && line.length > 2) {
    const rows = rowsInside(maps[panel], line.map((p) => position(panel, p)), admits(panel));
    if (rows.length) light(rows, rows.length === 1 ? rows[0] : null, 'inside the lasso');
    else tell('No document lies inside that line.');
  }
  paint();
});
stage.addEventListener('pointercancel', (event) => { pointers.delete(event.pointerId); lasso = null; paint(); });
stage.addEventListener('pointerleave', () => { if (!pointers.size) hover(null); });
stage.addEventListener('wheel', (event) => {
  const where = whereIs(event), panel = panelAt(where);
  if (!view || panel < 0) return;
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), panel, where);
}, { passive: false });
stage.addEventListener('dblclick', (event) => { if (view && panelAt(whereIs(event)) >= 0) reset(); });

// -------------------------------------------------------------------------------------------------------------- tools

const reset = () => { camera = whole(); paint(); };
function setMode(next) {
  mode = next === mode ? 'none' : next;
  element.querySelectorAll('[data-mode]').forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.mode === mode)));
  // One finger scrolls the page where it does not move the maps; two fingers always zoom them.
  stage.style.touchAction = mode === 'none' ? 'pan-x pan-y' : 'none';
  stage.style.cursor = { pan: 'grab', lasso: 'crosshair' }[mode] || 'default';
}
element.addEventListener('click', (event) => {
  const tool = event.target.closest('[data-tool], [data-mode]');
  if (!tool) return;
  if (tool.dataset.mode) setMode(tool.dataset.mode);
  else if (!view) return;
  else if (tool.dataset.tool === 'in') zoomBy(1.4);
  else if (tool.dataset.tool === 'out') zoomBy(1 / 1.4);
  else if (tool.dataset.tool === 'reset') reset();
  else if (tool.dataset.tool === 'find') search();
  else if (tool.dataset.tool === 'clear') { box.value = ''; tell(''); light([], null, ''); }
});
box.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.preventDefault(); search(); } });
stage.addEventListener('keydown', (event) => {
  if (!view || !panels[0] || event.target !== stage) return;
  const step = panels[0].size * 0.15;
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (moves[event.key]) moveBy(...moves[event.key]);
  else if (event.key === '+' || event.key === '=') zoomBy(1.4);
  else if (event.key === '-') zoomBy(1 / 1.4);
  else if (event.key === '0') reset();
  else return;
  event.preventDefault();
});
// The tables below are components of their own: their buttons choose documents by this event.
element.addEventListener('map-choose', (event) => {
  if (!view) return;
  choose(Number(event.detail.row), false);
  stage.scrollIntoView({ block: 'nearest', behavior: window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
});

let width = 0;
new ResizeObserver(() => {
  if (stage.clientWidth === width) return;
  width = stage.clientWidth;
  if (view) arrange(); else reserve(2);
}).observe(stage);
new MutationObserver(() => { stale = true; paint(); }).observe(document.body, { attributes: true, attributeFilter: ['class'] });
const first = mode;
mode = '';
setMode(first);
reserve(2);
watch('value', read);
read();
