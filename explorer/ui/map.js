// Runs once for the component, whose template never changes: the maps of up to four variants, drawn by Plotly (WebGL),
// and over them a canvas with what is lit. `props.value` is a small JSON message; positions and colour codes are fetched
// from the server under the keys it names, texts when they are wanted.
const find = (selector) => element.querySelector(selector);
const stage = find('.map-stage'), plot = find('.map-plot'), over = find('.map-over'), tip = find('.map-tip');
const legend = find('.map-legend'), said = find('.map-said'), box = find('.map-search');
const LIT_MOST = 4000, SENT_MOST = 2000, GAP = 6, HEAD = 48, SMALLEST = 270, LARGEST = 620;

let view = null;      // the message that is drawn
let maps = [];        // per variant: Float32Array x0, y0, x1, y1, …
let shade = null;     // {title, names, colours, symbols, rest, note, codes: per variant Uint8Array}
let traces = [];      // per trace: the rows of its points
let hidden = new Set();
let lit = { rows: [], focus: null, near: {}, why: '' };
let hovered = null;
let panels = [];      // per variant: pixels {x, y, size}
let plotted = false, ratio = 0, waiting = Promise.resolve(), asked = 0;
const texts = new Map();

let mode = window.matchMedia('(max-width: 640px)').matches ? false : 'pan';

// ---------------------------------------------------------------------------------------------------- what is fetched

const script = () => {
  if (window.Plotly && window.Plotly.newPlot) return Promise.resolve();
  if (!window.mapPlotly) {
    window.mapPlotly = new Promise((done, failed) => {
      const tag = document.createElement('script');
      tag.src = props.plotly;
      tag.onload = () => done();
      tag.onerror = () => { window.mapPlotly = null; failed(new Error('the drawing library could not be loaded')); };
      document.head.appendChild(tag);
    });
  }
  return window.mapPlotly;
};
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const answer = (found) => {
  if (!found || found.error) throw new Error((found && found.error) || 'the server did not answer');
  return found;
};
const tell = (text) => { said.textContent = text || ''; };

async function read() {
  let next = null;
  try { next = JSON.parse(props.value || 'null'); } catch (error) { return; }
  if (!next || (view && JSON.stringify(next) === JSON.stringify(view))) return;
  const turn = ++asked;
  reserve(next.names.length);
  try {
    await script();
    const moved = !view || view.key !== next.key;
    const [points, codes] = await Promise.all([
      moved ? server.points(next.key).then(answer) : null,
      !view || view.shade !== next.shade ? server.codes(next.shade).then(answer) : null,
    ]);
    if (turn !== asked) return;
    const other = !view || view.corpus !== next.corpus;
    if (points) maps = points.maps.map((text) => new Float32Array(bytes(text)));
    if (codes) {
      shade = codes;
      shade.codes = next.names.map((v) => new Uint8Array(bytes(codes.codes[v.name] || codes.codes[''])));
      hidden = new Set();
    }
    view = next;
    if (other) { texts.clear(); tell(''); }
    // Other documents: nothing is selected any more. Other maps of the same: the selection is shown by these.
    if (moved && lit.rows.length) { if (other) light([], null, ''); else light(lit.rows, lit.focus, lit.why); }
    drawLegend();
    waiting = waiting.then(() => draw(moved)).catch(failed);
    await waiting;
  } catch (error) { failed(error); }
}
const failed = (error) => { tell(`The maps cannot be drawn: ${error.message}.`); };

// ------------------------------------------------------------------------------------------------------------- layout

function columns(count, width) {
  let most = Math.max(1, Math.min(count, Math.floor(width / SMALLEST)));
  if (count === 4 && most === 3) most = 2;
  return most;
}
function reserve(count) {
  const width = stage.clientWidth;
  if (!width) return;
  const across = columns(count, width), size = Math.min(LARGEST, width / across);
  panels = [];
  for (let i = 0; i < count; i++) {
    const column = i % across, row = Math.floor(i / across);
    panels.push({ x: column * size + (column ? GAP : 0), y: row * (size + HEAD) + HEAD, size: size - GAP });
  }
  stage.style.height = `${Math.ceil(count / across) * (size + HEAD)}px`;
}
const axis = (letter, i) => (i ? letter + (i + 1) : letter);
function layout() {
  const width = stage.clientWidth, height = stage.clientHeight;
  const made = {
    width, height, margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, hovermode: 'closest', dragmode: mode,
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', uirevision: view.key,
    newselection: { line: { color: '#7f7f7f', width: 1.5 } },
  };
  panels.forEach((p, i) => {
    const shared = { visible: false, fixedrange: false, autorange: false };
    made[`${axis('xaxis', i)}`] = { ...shared, range: [...view.x], domain: [p.x / width, Math.min(1, (p.x + p.size) / width)], anchor: axis('y', i) };
    made[`${axis('yaxis', i)}`] = { ...shared, range: [...view.y], domain: [Math.max(0, 1 - (p.y + p.size) / height), 1 - p.y / height], anchor: axis('x', i) };
    if (i) { made[axis('xaxis', i)].matches = 'x'; made[axis('yaxis', i)].matches = 'y'; }
  });
  return made;
}
// What has no colour of its own lies below the rest.
const order = () => shade.names.map((_, i) => (i + shade.names.length - shade.rest) % shade.names.length);
const pointSize = () => view.size * Math.max(0.65, Math.min(1.1, panels[0].size / 460));
function data() {
  const made = [];
  traces = [];
  const rest = shade.names.length - shade.rest, many = view.n > 20000;
  const look = (code) => ({
    color: shade.colours[code], symbol: many ? 'circle' : shade.symbols[code], size: pointSize(), line: { width: 0 },
    opacity: code >= rest ? 0.45 : many ? 0.7 : 0.85,
  });
  maps.forEach((xy, i) => {
    const groups = shade.names.map(() => []);
    shade.codes[i].forEach((code, row) => groups[code].push(row));
    order().forEach((code) => {
      const rows = groups[code];
      const x = new Float32Array(rows.length), y = new Float32Array(rows.length);
      rows.forEach((row, j) => { x[j] = xy[2 * row]; y[j] = xy[2 * row + 1]; });
      const marker = look(code);
      made.push({
        type: 'scattergl', mode: 'markers', x, y, xaxis: axis('x', i), yaxis: axis('y', i), marker, hoverinfo: 'none',
        selected: { marker: { opacity: marker.opacity } }, unselected: { marker: { opacity: marker.opacity } },
        visible: !hidden.has(code),
      });
      traces.push(rows);
    });
  });
  return made;
}

async function draw(reset) {
  if (!view || !shade || !stage.clientWidth) return;
  reserve(view.names.length);
  heads();
  const made = layout(), before = plotted && !reset ? plot._fullLayout : null;
  if (before) panels.forEach((_, i) => {
    for (const letter of ['x', 'y']) {
      const old = before[axis(`${letter}axis`, i)];
      if (old) made[axis(`${letter}axis`, i)].range = [...old.range];
    }
  });
  // Plotly draws twice as finely as the screen; many points want speed. Another configuration needs a plot made anew.
  const plotGlPixelRatio = view.n > 20000 ? window.devicePixelRatio || 1 : 2;
  if (plotted && plotGlPixelRatio !== ratio) { window.Plotly.purge(plot); plotted = false; }
  ratio = plotGlPixelRatio;
  await window.Plotly.react(plot, data(), made, { displayModeBar: false, scrollZoom: true, doubleClick: false, plotGlPixelRatio });
  if (!plotted) listen();
  plotted = true;
  stage.dataset.drawn = view.drawn;
  stage.dataset.key = view.key;
  paint();
}
function heads() {
  stage.querySelectorAll('.map-head, .map-frame').forEach((old) => old.remove());
  view.names.forEach((variant, i) => {
    const p = panels[i], head = document.createElement('div'), frame = document.createElement('div');
    head.className = 'map-head';
    frame.className = 'map-frame';
    head.style.cssText = `left:${p.x}px;top:${p.y - HEAD}px;width:${p.size}px;height:${HEAD}px`;
    frame.style.cssText = `left:${p.x}px;top:${p.y}px;width:${p.size}px;height:${p.size}px`;
    const mark = document.createElement('i'), name = document.createElement('b'), told = document.createElement('small');
    mark.textContent = variant.symbol;
    mark.style.color = variant.colour;
    mark.setAttribute('aria-hidden', 'true');
    name.textContent = variant.label;
    told.textContent = variant.told;
    head.append(mark, name, told);
    stage.append(frame, head);
  });
  const shown = view.names.map((v) => v.label).join(', ');
  plot.setAttribute('role', 'img');
  plot.setAttribute('aria-label', `${view.drawn.toUpperCase()} maps of ${view.n} documents: ${shown}. The search box and the tables reach every document without the pointer.`);
}

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
    dot.className = `map-dot ${view && shade.symbols[code]}`;
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
function filter() {
  legend.querySelectorAll('[data-code]').forEach((b) => b.setAttribute('aria-pressed', String(!hidden.has(Number(b.dataset.code)))));
  if (!plotted) return;
  const codes = order(), visible = traces.map((_, i) => !hidden.has(codes[i % codes.length]));
  waiting = waiting.then(() => window.Plotly.restyle(plot, { visible })).then(paint).catch(failed);
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
  filter();
});

// -------------------------------------------------------------------------------------------------- the canvas on top

let painting = false;
function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; if (plotted) repaint(); });
}
function repaint() {
  const ratio = window.devicePixelRatio || 1, width = stage.clientWidth, height = stage.clientHeight;
  if (!width) return;
  if (over.width !== Math.round(width * ratio) || over.height !== Math.round(height * ratio)) {
    over.width = Math.round(width * ratio);
    over.height = Math.round(height * ratio);
  }
  const pen = over.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const dark = document.body.classList.contains('dark');
  const ink = dark ? '#ffffff' : '#111111', paper = getComputedStyle(over).color;
  const any = lit.rows.length > 0, full = plot._fullLayout;
  maps.forEach((xy, i) => {
    const p = panels[i], ax = full[axis('xaxis', i)], ay = full[axis('yaxis', i)];
    if (!p || !ax || !ay) return;
    const place = (x, y) => [
      ax._offset + (x - ax.range[0]) / (ax.range[1] - ax.range[0]) * ax._length,
      ay._offset + (ay.range[1] - y) / (ay.range[1] - ay.range[0]) * ay._length,
    ];
    const at = (row) => place(xy[2 * row], xy[2 * row + 1]);
    pen.save();
    pen.beginPath();
    pen.rect(p.x, p.y, p.size, p.size);
    pen.clip();
    if (any) {
      pen.globalAlpha = 0.72;
      pen.fillStyle = paper;
      pen.fillRect(p.x, p.y, p.size, p.size);
      pen.globalAlpha = 1;
    }
    const near = (lit.near[view.names[i].name] || []);
    if (lit.focus !== null) lines(pen, at(lit.focus), near.map(at), ink);
    const radius = Math.max(3, view.size * 0.75), few = lit.rows.length <= LIT_MOST / 4;
    lit.rows.slice(0, LIT_MOST).forEach((row) => dot(pen, at(row), few ? radius : 2, shade.colours[shade.codes[i][row]], few ? ink : null));
    near.forEach((row) => dot(pen, at(row), radius, shade.colours[shade.codes[i][row]], ink));
    if (lit.focus !== null) ring(pen, at(lit.focus), 8, ink);
    if (hovered !== null) ring(pen, at(hovered), 7, ink);
    const star = view.star && view.star[view.names[i].name];
    if (star && !any) {
      const where = place(star.xy[0], star.xy[1]);
      lines(pen, where, star.rows.map(at), ink);
      star.rows.forEach((row) => dot(pen, at(row), radius, shade.colours[shade.codes[i][row]], ink));
      drawStar(pen, where);
    } else if (star) drawStar(pen, place(star.xy[0], star.xy[1]));
    pen.restore();
  });
}
function lines(pen, from, ends, ink) {
  pen.strokeStyle = ink;
  pen.globalAlpha = 0.45;
  pen.lineWidth = 1;
  pen.beginPath();
  ends.forEach((end) => { pen.moveTo(from[0], from[1]); pen.lineTo(end[0], end[1]); });
  pen.stroke();
  pen.globalAlpha = 1;
}
function dot(pen, where, radius, colour, ink) {
  pen.beginPath();
  pen.arc(where[0], where[1], radius, 0, 7);
  pen.fillStyle = colour;
  pen.fill();
  if (ink) { pen.lineWidth = 1.4; pen.strokeStyle = ink; pen.stroke(); }
}
function ring(pen, where, radius, ink) {
  pen.beginPath();
  pen.arc(where[0], where[1], radius, 0, 7);
  pen.lineWidth = 2;
  pen.strokeStyle = ink;
  pen.stroke();
}
function drawStar(pen, where) {
  pen.beginPath();
  for (let i = 0; i < 10; i++) {
    const angle = -Math.PI / 2 + i * Math.PI / 5, radius = i % 2 ? 5 : 11;
    pen.lineTo(where[0] + radius * Math.cos(angle), where[1] + radius * Math.sin(angle));
  }
  pen.closePath();
  pen.fillStyle = '#F0E442';
  pen.fill();
  pen.lineWidth = 1.5;
  pen.strokeStyle = '#222222';
  pen.stroke();
}

// ------------------------------------------------------------------------------------------------------------ selecting

const rowOf = (point) => traces[point.curveNumber] && traces[point.curveNumber][point.pointNumber];

async function light(rows, focus, why) {
  lit = { rows, focus, near: {}, why };
  if (!why.startsWith('hold')) tell('');
  paint();
  element.querySelector('.map-clear').disabled = !rows.length;
  stage.dataset.lit = rows.length;
  trigger('select', { key: view.key, rows: rows.slice(0, SENT_MOST), total: rows.length, why });
  if (focus === null) return;
  const key = view.key;
  try {
    const near = answer(await server.near({ key, row: focus }));
    if (lit.focus === focus && view.key === key) { lit.near = near; paint(); }
  } catch (error) { tell(error.message); }
}
function choose(row, add) {
  if (row === undefined || row === null) return;
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
    const found = answer(await server.find({ key, text }));
    if (view.key !== key) return;
    tell(found.rows.length ? `${found.rows.length.toLocaleString('en')} documents hold “${text}”.` : `No document holds “${text}”.`);
    light(found.rows, found.rows.length === 1 ? found.rows[0] : null, `hold “${text}”`);
  } catch (error) { tell(error.message); }
}

let tipping = 0, pointer = null;
async function hover(row, event) {
  hovered = row;
  paint();
  if (row === null) { tip.hidden = true; clearTimeout(tipping); return; }
  const frame = stage.getBoundingClientRect();
  pointer = [event.clientX - frame.left, event.clientY - frame.top];
  const show = () => {
    const found = texts.get(row);
    if (!found || hovered !== row) return;
    tip.replaceChildren();
    const title = document.createElement('b'), small = document.createElement('small');
    title.textContent = found.title;
    small.textContent = [found.label, found.text].filter(Boolean).join(' · ');
    tip.append(title, small);
    tip.hidden = false;
    const wide = Math.min(300, stage.clientWidth - 12);
    tip.style.width = `${wide}px`;
    tip.style.left = `${Math.max(4, Math.min(pointer[0] + 14, stage.clientWidth - wide - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(pointer[1] + 14, stage.clientHeight - 90))}px`;
  };
  if (texts.has(row)) { show(); return; }
  tip.hidden = true;
  clearTimeout(tipping);
  const key = view.key;
  tipping = setTimeout(async () => {
    try {
      const found = answer(await server.about({ key, rows: [row] }));
      found.documents.forEach((document) => texts.set(document.row, document));
      show();
    } catch (error) { tell(error.message); }
  }, 90);
}

function listen() {
  plot.on('plotly_hover', (event) => hover(rowOf(event.points[0]) ?? null, event.event));
  plot.on('plotly_unhover', () => hover(null));
  plot.on('plotly_click', (event) => choose(rowOf(event.points[0]), event.event && event.event.shiftKey));
  plot.on('plotly_selected', (event) => {
    if (!event || !event.points || !event.points.length) return;
    const rows = [...new Set(event.points.map(rowOf))].filter((row) => row !== undefined);
    light(rows, rows.length === 1 ? rows[0] : null, 'inside the lasso');
    // The outline belongs to one panel; what it chose is lit in all.
    setTimeout(() => window.Plotly.relayout(plot, { selections: [] }), 0);
  });
  for (const name of ['plotly_relayouting', 'plotly_relayout', 'plotly_afterplot']) plot.on(name, paint);
}
plot.addEventListener('dblclick', () => { if (plotted) reset(); });

// --------------------------------------------------------------------------------------------------------------- tools

function ranges(change) {
  const made = {};
  panels.forEach((_, i) => {
    made[`${axis('xaxis', i)}.range`] = change(plot._fullLayout.xaxis.range, 'x');
    made[`${axis('yaxis', i)}.range`] = change(plot._fullLayout.yaxis.range, 'y');
  });
  waiting = waiting.then(() => window.Plotly.relayout(plot, made)).catch(failed);
}
const zoom = (factor) => ranges(([a, b]) => [(a + b) / 2 - (b - a) / 2 * factor, (a + b) / 2 + (b - a) / 2 * factor]);
const shift = (letter, by) => ranges(([a, b], which) => (which === letter ? [a + (b - a) * by, b + (b - a) * by] : [a, b]));
const reset = () => ranges((_, which) => [...view[which]]);
function setMode(next) {
  mode = next;
  element.querySelectorAll('[data-mode]').forEach((b) => b.setAttribute('aria-pressed', String((b.dataset.mode === 'none' ? false : b.dataset.mode) === mode)));
  if (plotted) waiting = waiting.then(() => draw(false)).catch(failed);
}
element.addEventListener('click', (event) => {
  const tool = event.target.closest('[data-tool], [data-mode]');
  if (!tool || !plotted) return;
  if (tool.dataset.mode) setMode(tool.dataset.mode);
  else if (tool.dataset.tool === 'in') zoom(1 / 1.4);
  else if (tool.dataset.tool === 'out') zoom(1.4);
  else if (tool.dataset.tool === 'reset') reset();
  else if (tool.dataset.tool === 'find') search();
  else if (tool.dataset.tool === 'clear') { box.value = ''; tell(''); light([], null, ''); }
});
box.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.preventDefault(); search(); } });
stage.addEventListener('keydown', (event) => {
  if (!plotted || event.target !== stage) return;
  const keys = { ArrowLeft: ['x', -0.15], ArrowRight: ['x', 0.15], ArrowUp: ['y', 0.15], ArrowDown: ['y', -0.15] };
  if (keys[event.key]) shift(...keys[event.key]);
  else if (event.key === '+' || event.key === '=') zoom(1 / 1.4);
  else if (event.key === '-') zoom(1.4);
  else if (event.key === '0') reset();
  else return;
  event.preventDefault();
});
// The tables below are components of their own: their buttons choose documents by this event.
element.addEventListener('map-choose', (event) => {
  if (!view || !plotted) return;
  choose(Number(event.detail.row), false);
  stage.scrollIntoView({ block: 'nearest', behavior: window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
});

let width = 0, resizing = 0;
new ResizeObserver(() => {
  if (stage.clientWidth === width) return;
  width = stage.clientWidth;
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    if (!width) return;
    if (view && shade) waiting = waiting.then(() => draw(false)).catch(failed);
    else reserve(2);
  }, 60);
}).observe(stage);
new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ['class'] });
if (mode === false) setMode(false);
else setMode('pan');
reserve(2);
watch('value', read);
read();
