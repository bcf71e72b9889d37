// Points -> pixels, by the processor alone: 100,000 points take some milliseconds, with a graphics card or without.
// A picture is opaque, so that blending is a few operations on whole pixels.

// How far (x, y) lies outside a shape of about the same area as a circle of that radius.
const SHAPES = {
  circle: (x, y, radius) => Math.hypot(x, y) - radius,
  square: (x, y, radius) => Math.max(Math.abs(x), Math.abs(y)) - radius * 0.89,
  diamond: (x, y, radius) => (Math.abs(x) + Math.abs(y)) * Math.SQRT1_2 - radius * 0.89,
  'triangle-up': (x, y, radius) => Math.max(y - radius * 0.65, (Math.abs(x) * 1.732 - y) / 2 - radius * 0.65),
};

/** A marker in pixels around its middle: where, how opaque (0 to 256), and its colour times that. */
function stamp(shape, radius, [red, green, blue], opacity) {
  const reach = Math.ceil(radius * 1.35 + 1), parts = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
    const cover = Math.max(0, Math.min(1, 0.5 - (SHAPES[shape] || SHAPES.circle)(x, y, radius)));
    const alpha = Math.round(256 * opacity * cover);
    if (alpha) parts.push([x, y, alpha]);
  }
  const filled = (part) => Int32Array.from(parts, part);
  return {
    reach, x: filled((p) => p[0]), y: filled((p) => p[1]), rest: filled((p) => 256 - p[2]),
    redBlue: filled((p) => Math.imul(blue << 16 | red, p[2])), green: filled((p) => Math.imul(green << 8, p[2])),
  };
}

/** A picture of size x size pixels with a margin that markers at the edge may reach into. */
function sheet(size, margin) {
  const wide = size + 2 * margin, image = new ImageData(wide, wide);
  return { size, margin, wide, image, pixels: new Uint32Array(image.data.buffer), offsets: new Map() };
}

/** The marker's pixels as distances in a sheet, worked out once. */
function offsets(on, marker) {
  let found = on.offsets.get(marker);
  if (!found) on.offsets.set(marker, found = marker.x.map((x, i) => x + marker.y[i] * on.wide));
  return found;
}

/** Blend a marker over the sheet, its middle at pixel (x, y), whole numbers; what lies off the sheet is left out. */
function imprint(on, marker, x, y) {
  const { size, margin, pixels } = on;
  if (x < -margin + marker.reach || y < -margin + marker.reach || x >= size + margin - marker.reach || y >= size + margin - marker.reach) return;
  const middle = (y + margin) * on.wide + x + margin, where = offsets(on, marker), { rest, redBlue, green } = marker;
  for (let i = 0; i < where.length; i++) {
    const at = middle + where[i], old = pixels[at], keep = rest[i];
    const rb = ((Math.imul(old & 0xff00ff, keep) + redBlue[i]) >>> 8) & 0xff00ff;
    const g = ((Math.imul(old & 0x00ff00, keep) + green[i]) >>> 8) & 0x00ff00;
    pixels[at] = 0xff000000 | rb | g;
  }
}

/** Rows in the order of drawing: by the place of their code in `order`, then by row. */
function drawingOrder(codes, order) {
  const place = new Uint8Array(256), counts = new Uint32Array(257), rows = new Uint32Array(codes.length);
  order.forEach((code, i) => { place[code] = i; });
  for (let row = 0; row < codes.length; row++) counts[place[codes[row]] + 1]++;
  for (let i = 0; i < 256; i++) counts[i + 1] += counts[i];
  for (let row = 0; row < codes.length; row++) rows[counts[place[codes[row]]]++] = row;
  return rows;
}

/** The row nearest to position (x, y), no further than `reach`, among those that `shown(row)` admits; else null. */
function nearestRow(xy, x, y, reach, shown) {
  let best = reach * reach, found = null;
  for (let row = 0, i = 0; i < xy.length; row++, i += 2) {
    const dx = xy[i] - x, dy = xy[i + 1] - y, far = dx * dx + dy * dy;
    if (far <= best && shown(row)) { best = far; found = row; }
  }
  return found;
}

/** Rows whose positions lie inside a closed line of [x, y] (even-odd rule), among those that `shown(row)` admits. */
function rowsInside(xy, line, shown) {
  const xs = line.map((p) => p[0]), ys = line.map((p) => p[1]), rows = [];
  const left = Math.min(...xs), right = Math.max(...xs), low = Math.min(...ys), high = Math.max(...ys);
  for (let row = 0, i = 0; i < xy.length; row++, i += 2) {
    const x = xy[i], y = xy[i + 1];
    if (x < left || x > right || y < low || y > high || !shown(row)) continue;
    let inside = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      if ((ys[a] > y) !== (ys[b] > y) && x < (xs[b] - xs[a]) * (y - ys[a]) / (ys[b] - ys[a]) + xs[a]) inside = !inside;
    }
    if (inside) rows.push(row);
  }
  return rows;
}
