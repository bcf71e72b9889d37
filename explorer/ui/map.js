// Runs once for the component, whose template never changes: the maps of up to four variants side by side, with what is
// lit. `props.value` is a small JSON message; positions and colour codes are fetched from the server under the keys it
// names, texts when they are wanted. map_points.js, which stands before this, makes the pictures.
const find = (selector) => element.querySelector(selector);
const stage = find('.map-stage'), over = find('.map-over'), tip = find('.map-tip');
const legend = find('.map-legend'), said = find('.map-said'), box = find('.map-search');
const SENT_MOST = 2000, GAP = 6, HEAD = 48, SMALLEST = 270, LARGEST = 620, FEW = 1000, DEEPEST = 200;
const QUICK = 14, REST = 120; // milliseconds: a picture made anew in every frame; how long a gesture rests before one

let view = null;      // the message that is shown
let maps = [];        // per variant: Float32Array x0, y0, x1, y1, …
let shade = null;     // {title, names, colours, symbols, rest, note, codes: per variant Uint8Array, rows: in drawing order}
let hidden = new Set();
let lit = { rows: [], focus: null, near: {}, why: '' };
let hovered = null;   // a row
let panels = [];      // per variant: pixels {x, y, size}, and in `seat` what stands there
let camera = { x: 0, y: 0, zoom: 1 };
let mode = window.matchMedia('(max-width: 640px)').matches ? 'none' : 'pan';
const texts = new Map();

// ---------------------------------------------------------------------------------------------------- what is fetched

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const tell = (text) => { said.textContent = text || ''; };
const failed = (error) => { tell(`The maps cannot be drawn: ${error.message}.`); };

/** The server's answer; where it cannot be reached it is asked again, as long as `wanted()`. */
async function ask(name, argument, wanted = () => true) {
  for (const wait of [500, 2000, 5000, 0]) {
    let found = null;
    try { found = await server[name](argument); } catch (error) { if (!wait || !wanted()) throw error; }
    if (found && found.error) throw new Error(found.error);
    if (found) return found;
    if (!wait) throw new Error('the server did not answer; press Draw');
    tell('The server did not answer; asking again …');
    await new Promise((done) => setTimeout(done, wait));
  }
}

let asked = 0;
async function read() {
  let next = null;
  try { next = JSON.parse(props.value || 'null'); } catch (error) { return; }
  if (!next) return;
  const turn = ++asked, wanted = () => turn === asked;
  if (!view) reserve(next.names.length);
  try {
    const moved = !view || view.key !== next.key;
    const [points, codes] = await Promise.all([
      moved ? ask('points', next.key, wanted) : null,
      !view || view.shade !== next.shade ? ask('codes', next.shade, wanted) : null,
    ]);
    if (!wanted()) return;
    if (moved && view) tell('');
    take(next, points, codes);
  } catch (error) { if (wanted()) failed(error); }
}

function take(next, points, codes) {
  const other = !view || view.corpus !== next.corpus, moved = !view || view.key !== next.key;
  if (points) maps = points.maps.map((text) => positions(new Uint16Array(bytes(text).buffer), next));
  view = next;
  if (codes) { shade = codes; hidden = new Set(); }
  if (codes || points) {
    shade.codes = view.names.map((v) => bytes(shade.packed[v.name] || shade.packed['']));
    shade.rows = shade.codes.map((one) => drawingOrder(one, drawingCodes()));
  }
  if (moved) camera = whole();
  if (other) { texts.clear(); tell(''); }
  drawLegend();
  arrange();
  // Other documents: nothing is selected any more. Other maps of the same: the selection is shown by these.
  if (moved && lit.rows.length) { if (other) light([], null, ''); else light(lit.rows, lit.focus, lit.why); }
}
function positions(steps, { x, y }) {
  const xy = new Float32Array(steps.length);
  for (let i = 0; i < steps.length; i += 2) {
    xy[i] = x[0] + steps[i] / 65535 * (x[1] - x[0]);
    xy[i + 1] = y[0] + steps[i + 1] / 65535 * (y[1] - y[0]);
  }
  return xy;
}
// What has no colour of its own lies below the rest.
const drawingCodes = () => shade.names.map((_, i) => (i + shade.names.length - shade.rest) % shade.names.length);
const admits = (panel) => (row) => !hidden.has(shade.codes[panel][row]);

// ------------------------------------------------------------------------------------------------------------- layout

function reserve(count) {
  const width = stage.clientWidth;
  if (!width) return;
  let across = Math.max(1, Math.min(count, Math.floor(width / SMALLEST)));
  if (count === 4 && across === 3) across = 2;
  const size = Math.floor(Math.min(LARGEST, width / across));
  panels = [];
  for (let i = 0; i < count; i++) {
    const column = i % across, row = Math.floor(i / across);
    panels.push({ x: column * size + (column ? GAP : 0), y: row * (size + HEAD) + HEAD, size: size - GAP });
  }
  stage.style.height = `${Math.ceil(count / across) * (size + HEAD)}px`;
}
const whole = () => ({ x: (view.x[0] + view.x[1]) / 2, y: (view.y[0] + view.y[1]) / 2, zoom: 1 });
/** Pixels a unit; the same in all panels, for they are equally large. */
const scale = (at = camera) => panels[0].size / (view.x[1] - view.x[0]) * at.zoom;
const place = (i, [x, y]) => {
  const p = panels[i], s = scale();
  return [p.x + p.size / 2 + (x - camera.x) * s, p.y + p.size / 2 - (y - camera.y) * s];
};
const placeRow = (i, row) => place(i, [maps[i][2 * row], maps[i][2 * row + 1]]);
const position = (i, [left, top]) => {
  const p = panels[i], s = scale();
  return [camera.x + (left - p.x - p.size / 2) / s, camera.y - (top - p.y - p.size / 2) / s];
};
// For those who drive the page: where on the screen a document stands on a map.
stage.placeOf = (i, row) => {
  const frame = stage.getBoundingClientRect(), [left, top] = placeRow(i, row);
  return [frame.left + left, frame.top + top];
};

/** Places for the maps, and what stands above them. What is there already stays. */
function arrange() {
  if (!view || !shade || !stage.clientWidth) return;
  const before = panels;
  reserve(view.names.length);
  before.slice(view.names.length).forEach(({ seat }) => seat && [seat.head, seat.frame].forEach((old) => old.remove()));
  view.names.forEach((variant, i) => {
    const p = panels[i];
    p.seat = (before[i] && before[i].seat) || newSeat();
    const { head, frame, canvas, mark, name, told } = p.seat;
    head.style.cssText = `left:${p.x}px;top:${p.y - HEAD}px;width:${p.size}px;height:${HEAD}px`;
    frame.style.cssText = `left:${p.x}px;top:${p.y}px;width:${p.size}px;height:${p.size}px`;
    mark.textContent = variant.symbol;
    mark.style.color = variant.colour;
    name.textContent = variant.label;
    told.textContent = variant.told;
    canvas.setAttribute('aria-label', `${view.drawn.toUpperCase()} map of ${view.n} documents by ${variant.label}. The search box and the tables reach every document without the pointer.`);
  });
  stale = true;
  paint();
}
function newSeat() {
  const made = (tag, className) => Object.assign(document.createElement(tag), { className });
  const seat = { head: made('div', 'map-head'), frame: made('div', 'map-frame'), canvas: made('canvas', ''), mark: made('i', ''), name: made('b', ''), told: made('small', '') };
  seat.mark.setAttribute('aria-hidden', 'true');
  seat.canvas.setAttribute('role', 'img');
  seat.head.append(seat.mark, seat.name, seat.told);
  seat.frame.append(seat.canvas);
  stage.insertBefore(seat.frame, over);
  stage.append(seat.head);
  return seat;
}

// ----------------------------------------------------------------------------------------------------------- pictures

let painting = false, stale = true, took = 0, resting = 0, painted = null, stamps = null;

/** Show what has changed in the next frame. Costly pictures wait for the end of a gesture and are moved until then. */
function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    if (!view || !shade || !panels[0] || !panels[0].seat || !stage.clientWidth) return;
    const moved = painted && (painted.x !== camera.x || painted.y !== camera.y || painted.zoom !== camera.zoom);
    clearTimeout(resting);
    if (stale || (moved && took < QUICK)) picture();
    else if (moved) {
      panels.forEach((p) => { p.seat.canvas.style.transform = shifted(); });
      resting = setTimeout(() => { stale = true; paint(); }, REST);
    }
    repaint();
  });
}
/** The transform that shows the picture as it was painted where the camera is now. */
function shifted() {
  const grown = camera.zoom / painted.zoom, s = scale();
  return `translate(${(painted.x - camera.x) * s}px, ${(camera.y - painted.y) * s}px) scale(${grown})`;
}
const dark = () => document.body.classList.contains('dark');
const ink = () => (dark() ? '#ffffff' : '#111111');
const rgb = (() => {
  const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  return (colour) => { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)]; };
})();
const pixelRatio = () => Math.min(window.devicePixelRatio || 1, 2);

/** The markers of all codes: as they are, faint where others are lit, and lit. */
function markers() {
  const ratio = pixelRatio(), many = view.n > 20000, rest = shade.names.length - shade.rest;
  const radius = view.size / 2 * Math.max(0.65, Math.min(1.1, panels[0].size / 460)) * ratio;
  const key = `${view.key} ${view.shade} ${radius} ${dark()}`;
  if (stamps && stamps.key === key) return stamps;
  const paper = rgb(getComputedStyle(over).color), around = rgb(ink());
  const made = (opacity, size, colour) => shade.names.map((_, code) => stamp(
    many ? 'circle' : shade.symbols[code], size, colour || rgb(shade.colours[code]), code >= rest && opacity < 1 ? opacity * 0.55 : opacity,
  ));
  const larger = Math.max(3 * ratio, radius * 1.5);
  stamps = {
    key, paper: 0xff000000 | paper[2] << 16 | paper[1] << 8 | paper[0], margin: 2 * Math.ceil(larger * 1.35 + 3 * ratio),
    plain: made(many ? 0.7 : 0.85, radius), faint: made(0.16, radius), lit: made(1, Math.max(radius, 2 * ratio)),
    large: made(1, larger), outline: made(1, larger + 1.2 * ratio, around),
  };
  return stamps;
}

function picture() {
  const began = performance.now(), ratio = pixelRatio(), marks = markers(), any = lit.rows.length > 0;
  const chosen = any ? new Set(lit.rows) : null, few = lit.rows.length <= FEW;
  panels.forEach((p, i) => {
    const size = Math.round(p.size * ratio);
    const { seat } = p;
    if (!seat.sheet || seat.sheet.size !== size || seat.sheet.margin !== marks.margin) seat.sheet = sheet(size, marks.margin);
    if (seat.canvas.width !== size) { seat.canvas.width = size; seat.canvas.height = size; }
    const on = seat.sheet, xy = maps[i], codes = shade.codes[i], s = scale() * ratio;
    const left = size / 2 - camera.x * s, top = size / 2 + camera.y * s;
    const put = (row, marker) => imprint(on, marker, Math.round(left + xy[2 * row] * s), Math.round(top - xy[2 * row + 1] * s));
    const shown = shade.names.map((_, code) => !hidden.has(code)), base = any ? marks.faint : marks.plain;
    on.pixels.fill(marks.paper);
    if (on.known !== marks.key) { on.offsets.clear(); on.known = marks.key; }
    for (const row of shade.rows[i]) {
      const code = codes[row];
      if (shown[code] && !(chosen && chosen.has(row))) put(row, base[code]);
    }
    const above = [...lit.rows, ...(lit.near[view.names[i].name] || [])];
    if (few) above.forEach((row) => { put(row, marks.outline[codes[row]]); put(row, marks.large[codes[row]]); });
    else above.forEach((row) => put(row, marks.lit[codes[row]]));
    seat.canvas.getContext('2d', { alpha: false, willReadFrequently: true }).putImageData(on.image, -on.margin, -on.margin);
    seat.canvas.style.transform = '';
  });
  painted = { ...camera };
  stale = false;
  stage.dataset.drawn = view.drawn;
  stage.dataset.key = view.key;
  stage.dataset.shown = shade.codes[0].reduce((sum, code) => sum + !hidden.has(code), 0);
  took = performance.now() - began;
}

/** What lies over the pictures: lines, rings, the query's star, the lasso. */
function repaint() {
  const ratio = window.devicePixelRatio || 1, width = stage.clientWidth, height = stage.clientHeight;
  if (over.width !== Math.round(width * ratio) || over.height !== Math.round(height * ratio)) {
    over.width = Math.round(width * ratio);
    over.height = Math.round(height * ratio);
  }
  const pen = over.getContext('2d'), colour = ink();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  panels.forEach((p, i) => {
    const at = (row) => placeRow(i, row), near = lit.near[view.names[i].name] || [];
    pen.save();
    pen.beginPath();
    pen.rect(p.x, p.y, p.size, p.size);
    pen.clip();
    if (lit.focus !== null) { lines(pen, at(lit.focus), near.map(at), colour); ring(pen, at(lit.focus), 8, colour); }
    if (hovered !== null) ring(pen, at(hovered), 7, colour);
    const star = view.star && view.star[view.names[i].name];
    if (star) {
      const where = place(i, star.xy);
      if (!lit.rows.length) { lines(pen, where, star.rows.map(at), colour); star.rows.forEach((row) => ring(pen, at(row), 4, colour)); }
      drawStar(pen, where);
    }
    if (lasso && lasso.panel === i) drawLasso(pen, colour);
    pen.restore();
  });
}
function lines(pen, from, ends, colour) {
  pen.strokeStyle = colour;
  pen.globalAlpha = 0.45;
  pen.lineWidth = 1;
  pen.beginPath();
  ends.forEach((end) => { pen.moveTo(from[0], from[1]); pen.lineTo(end[0], end[1]); });
  pen.stroke();
  pen.globalAlpha = 1;
}
function ring(pen, where, radius, colour) {
  pen.beginPath();
  pen.arc(where[0], where[1], radius, 0, 7);
  pen.lineWidth = radius > 5 ? 2 : 1.4;
  pen.strokeStyle = colour;
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
function drawLasso(pen, colour) {
  pen.beginPath();
  lasso.line.forEach((p) => pen.lineTo(p[0], p[1]));
  pen.closePath();
  pen.globalAlpha = 0.12;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 1.5;
  pen.strokeStyle = colour;
  pen.stroke();
}
