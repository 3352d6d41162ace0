// The style plane: 384 numbers an item, down to two that a plot can show.

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const unit = (a) => { const n = Math.sqrt(dot(a, a)) || 1; return a.map((x) => x / n); };

export const cosine = (a, b) => dot(unit(a), unit(b));

/** Mean of vectors of one length. */
export function mean(vectors) {
  const sum = new Float64Array(vectors[0].length);
  for (const v of vectors) for (let i = 0; i < sum.length; i++) sum[i] += v[i] / vectors.length;
  return sum;
}

/** The two directions along which `vectors` differ most: principal components, by power iteration. */
function axes(vectors, centre) {
  const rows = vectors.map((v) => Float64Array.from(v, (x, i) => x - centre[i]));
  const found = [];
  for (let n = 0; n < 2; n++) {
    let axis = unit(Float64Array.from(centre, (_, i) => Math.sin(i * (n + 1)) + 0.1));
    for (let turn = 0; turn < 60; turn++) {
      const next = new Float64Array(axis.length);
      for (const row of rows) {
        const along = dot(row, axis);
        for (let i = 0; i < next.length; i++) next[i] += along * row[i];
      }
      for (const other of found) {
        const along = dot(next, other);
        for (let i = 0; i < next.length; i++) next[i] -= along * other[i];
      }
      axis = unit(next);
    }
    found.push(axis);
  }
  return found;
}

/** Tags that say style rather than kind: not the first tag of any item, and on three items or more. */
export function styles(items, most = 12) {
  const kinds = new Set(items.map((item) => item.kind)), found = new Map();
  for (const item of items)
    for (const tag of item.tags) if (!kinds.has(tag)) found.set(tag, [...(found.get(tag) ?? []), item.vector]);
  return [...found]
    .filter(([, vectors]) => vectors.length >= 3)
    .sort((a, b) => b[1].length - a[1].length)
    .slice(0, most)
    .map(([name, vectors]) => ({ name, vector: mean(vectors) }));
}

/**
 * A function from a vector to [x, y], both about −1 to 1. The axes are those along which the styles differ most, so that
 * what moves on the plot is style; with too few styles, those along which the items do.
 */
export function plane(items, named) {
  const centre = mean(items.map((item) => item.vector));
  const [first, second] = axes(named.length > 3 ? named.map((style) => style.vector) : items.map((i) => i.vector), centre);
  const raw = (v) => { const moved = Float64Array.from(v, (x, i) => x - centre[i]); return [dot(moved, first), dot(moved, second)]; };
  const points = items.map((item) => raw(item.vector));
  const reach = [0, 1].map((axis) => {
    const sorted = points.map((p) => Math.abs(p[axis])).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length * 0.97)] || 1;
  });
  // Flattened, or the few that differ most would press all the others together in the middle.
  return (v) => raw(v).map((x, axis) => Math.max(-1.08, Math.min(1.08, Math.sign(x) * Math.abs(x / reach[axis]) ** 0.7)));
}
