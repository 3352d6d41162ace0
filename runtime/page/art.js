// A picture for each item, drawn from its category and its id: the page fetches none from elsewhere. The markup is made
// of numbers alone; no text of an item is in it.

function hash(text) {
  return [...text].reduce((state, letter) => Math.imul(state ^ letter.codePointAt(0), 16777619), 2166136261) >>> 0;
}

/** Numbers from 0 to 1, the same for the same text. */
export function random(text) {
  let state = hash(text);
  return () => { state = Math.imul(state ^ (state >>> 15), 2246822519) + 1; return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32; };
}

const hueOf = (item) => hash(item.kind || item.id) % 360;

/** The colour of the item's dot. */
export const colour = (item) => `hsl(${hueOf(item)} 42% 52%)`;

/** The inside of an <svg viewBox="0 0 320 220">: three bands of hills and a disc, in colours of the item's category. */
export function picture(item) {
  const r = random(item.id), hue = hueOf(item) + (r() - 0.5) * 24;
  const band = (y, light) => {
    const [a, b, c] = [r(), r(), r()].map((x) => y + (x - 0.5) * 70);
    return `<path fill="hsl(${hue + light / 3} 38% ${light}%)" d="M0 ${a}C90 ${b} 130 ${c} 200 ${a}S300 ${b} 320 ${c}V220H0z"/>`;
  };
  return `<path fill="hsl(${hue} 45% 88%)" d="M0 0h320v220H0z"/>`
    + `<circle cx="${60 + r() * 200}" cy="${50 + r() * 40}" r="${22 + r() * 26}" fill="hsl(${hue + 40} 65% 80%)"/>${band(110, 72)}${band(150, 58)}${band(190, 42)}`;
}
