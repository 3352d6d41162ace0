// The wedding sample: its words, its users, and a picture for each item, drawn from its tags and its id. The markup is made
// of constants and numbers alone; no text of an item is in it.

import { random } from "./art.js";

export const title = "Describe the day you dream of";
export const placeholder = "barefoot on the sand, linen and citrus, friends until sunrise";
export const users = ["hannah-joel", "eleanor-marcus", "mei-tomas", "saoirse-ben", "camille-andre", "anjali-tom"].map((name) => `demo-${name}`);

// sky, horizon, sun, far, near, motif, accent
const PALETTES = {
  rustic: "f8e7cb e6b07e fff3d9 b57f45 7b4a28 54301b ffd78a",
  classic: "efe7da cfb994 fffaf0 9a8460 332c28 1f1b19 d9b45b",
  coastal: "e3f1f3 9cc8d4 fff7e3 5c9db0 2b6a82 fbf4e8 f0b084",
  boho: "f8e8dc e2a685 fff1df bd7554 7f4636 fcf1e3 d39a62",
  modern: "f3f2ee dcdad3 ffffff bdb9b0 8c887f 35332f c99f80",
  industrial: "dfe2e4 9ba6ae f6e8d4 6b7680 3b444b 252b30 d58f50",
  vintage: "f7e9e8 d9b2b1 fff6ec a9797c 6d4754 fcf3ed c8a566",
  indian: "fde5ba f29d50 fff4d3 c43562 7a1b4b ffeabb f5cf62",
  garden: "edf3e3 b7cf9e fffce8 7d9f68 456640 fefaf0 e8a19d",
  winter: "e9edf3 aebccf fdfdff 7f92ab 43566f f6f8fb d8a9a0",
};
const STYLES = [
  [/indian|sangeet|mandap|mehndi|baraat|punjabi/, "indian", "rays"], [/rustic|barn|farm|countryside/, "rustic", "hills"],
  [/coast|beach|sea|harbour|nautical|island|boat/, "coastal", "waves"], [/industrial|warehouse|urban|city|loft/, "industrial", "city"],
  [/boho|desert|pampas|festival/, "boho", "hills"], [/vintage|deco|19\d0s|antique|retro/, "vintage", "rays"],
  [/black tie|classic|ballroom|formal|luxury|opulent/, "classic", "arches"], [/winter|mountain|snow|alp|elopement/, "winter", "peaks"],
  [/garden|botanical|wood|forest|orchard|rose|wild|vineyard/, "garden", "hills"], [/modern|minimal|japanese|clean/, "modern", "arches"],
];
const BACKDROPS = ["hills", "waves", "arches", "rays"];

const MOTIFS = [
  [/dress|gown|kimono|sari|lehenga/, (c) => `<path fill="#${c.motif}" d="M147 74q13 9 26 0l5 34q40 36 48 82H94q8-46 48-82z"/><path fill="none" stroke="#${c.near}" stroke-opacity=".35" stroke-width="2" d="M150 112q-8 40-26 76m46-76q8 40 26 76m-36-76v76"/><path fill="#${c.accent}" d="M141 106h38v8h-38z"/>`],
  [/suit|tux|groom|jacket/, (c) => `<path fill="#${c.near}" d="M104 190l6-82 50-26 50 26 6 82z"/><path fill="#fff" d="M138 92l22 60 22-60-22-8z"/><path fill="#${c.accent}" d="M160 104l-18-9v18zm0 0l18-9v18z"/><path fill="#${c.far}" d="M138 92l-14 26 18 8-4 12 22 34zm44 0l14 26-18 8 4 12-22 34z"/>`],
  [/cake|dessert|patis/, (c) => `<path fill="#${c.motif}" d="M104 156h112v34H104zm16-36h80v36h-80zm18-34h44v34h-44z"/><path fill="none" stroke="#${c.accent}" stroke-width="5" d="M104 158q14 14 28 0t28 0 28 0 28 0M120 122q13 13 27 0t27 0 26 0M138 88q11 11 22 0t22 0"/><circle cx="160" cy="78" r="8" fill="#${c.accent}"/><path fill="#${c.near}" d="M88 188h144v6H88z"/>`],
  [/flor|bouquet|flower/, (c, r) => `<path fill="none" stroke="#${c.near}" stroke-width="4" d="M160 190l-34-70m34 70l-14-84m14 84l8-86m-8 86l34-72m-34 72l-52-44m52 44l54-46"/>${[[126, 112], [146, 92], [170, 90], [194, 110], [112, 136], [210, 138], [160, 122]].map(([x, y], i) => bloom(x, y, 13 + r() * 6, i % 3 ? c.motif : c.accent, i % 2 ? c.accent : c.far)).join("")}<path fill="#${c.accent}" d="M146 166h28l4 10h-36z"/>`],
  [/photo|video|film/, (c) => `<rect x="98" y="106" width="124" height="84" rx="12" fill="#${c.near}"/><path fill="#${c.near}" d="M136 106l8-16h32l8 16z"/><circle cx="160" cy="148" r="30" fill="#${c.motif}"/><circle cx="160" cy="148" r="19" fill="#${c.far}"/><circle cx="153" cy="141" r="6" fill="#fff"/><circle cx="206" cy="120" r="5" fill="#${c.accent}"/>`],
  [/station|invit|calligr|paper/, (c) => `<path fill="#${c.motif}" stroke="#${c.near}" stroke-width="2" d="M92 104h136v86H92z"/><path fill="none" stroke="#${c.near}" stroke-width="2" d="M92 104l68 54 68-54M92 190l52-46m84 46l-52-46"/><circle cx="160" cy="154" r="14" fill="#${c.accent}"/><path fill="#fff" fill-opacity=".8" d="M160 160l-7-7a4 4 0 0 1 7-4 4 4 0 0 1 7 4z"/>`],
  [/jewel|\brings?\b/, (c) => `<g fill="none" stroke-width="9"><circle cx="138" cy="148" r="38" stroke="#${c.accent}"/><circle cx="186" cy="152" r="34" stroke="#${c.motif}"/></g><path fill="#fff" stroke="#${c.near}" stroke-width="2" d="M138 112l-18-20 8-12h20l8 12zm-18-20h36m-22-12l-4 12 8 20 8-20-4-12"/>`],
  [/\bband\b|\bdj\b|music|orchestra/, (c) => `<path fill="none" stroke="#${c.near}" stroke-width="7" d="M134 168V92l66-16v78"/><path fill="#${c.near}" d="M130 92l74-18v16l-74 18z"/><ellipse cx="120" cy="170" rx="18" ry="14" fill="#${c.motif}" stroke="#${c.near}" stroke-width="4"/><ellipse cx="186" cy="156" rx="18" ry="14" fill="#${c.accent}" stroke="#${c.near}" stroke-width="4"/>`],
  [/cater|food|chef/, (c) => `<path fill="#${c.motif}" d="M98 172a62 62 0 0 1 124 0z"/><path fill="#fff" fill-opacity=".5" d="M116 160a46 46 0 0 1 26-34l4 8a40 40 0 0 0-20 26z"/><circle cx="160" cy="103" r="9" fill="#${c.accent}"/><rect x="82" y="174" width="156" height="12" rx="6" fill="#${c.near}"/>`],
  [/\bbar\b|cocktail|drink|champagne/, (c) => `<g fill="none" stroke="#${c.near}" stroke-width="4"><path fill="#${c.accent}" d="M104 96h52q0 38-26 38t-26-38z"/><path fill="#${c.motif}" d="M168 84h52q0 38-26 38t-26-38z"/><path d="M130 134v50m-20 4h40m44-66v62m-20 4h40"/></g><circle cx="124" cy="80" r="4" fill="#${c.accent}"/><circle cx="140" cy="70" r="3" fill="#${c.accent}"/>`],
  [/rental|chair|marquee|decor/, (c) => `<path fill="#${c.motif}" d="M72 190l16-56q66-6 72-56 6 50 72 56l16 56z"/><path fill="#${c.accent}" d="M88 134q66-6 72-56l-14 112H110zm144 0q-66-6-72-56l14 112h36z" fill-opacity=".55"/><path stroke="#${c.near}" stroke-width="3" d="M160 80V58"/><path fill="#${c.accent}" d="M160 58l22 7-22 7z"/>`],
  [/plan|coordinat/, (c) => `<rect x="104" y="92" width="112" height="98" rx="10" fill="#${c.motif}" stroke="#${c.near}" stroke-width="3"/><path fill="#${c.near}" d="M104 102a10 10 0 0 1 10-10h92a10 10 0 0 1 10 10v14H104z"/><path fill="#${c.accent}" d="M160 178l-26-26a14 14 0 0 1 26-16 14 14 0 0 1 26 16z"/>`],
  [/venue.*(ballroom|classic|black tie|historic|castle|formal)|(ballroom|castle)/, (c) => `<path fill="#${c.near}" d="M76 190v-66h168v66zM64 122l96-48 96 48z"/><path fill="#${c.motif}" d="M76 190v-6h168v6z"/><path fill="#${c.accent}" d="M90 132h12v52H90zm32 0h12v52h-12zm64 0h12v52h-12zm32 0h12v52h-12zm-70 52v-34a12 12 0 0 1 24 0v34z"/><circle cx="160" cy="104" r="9" fill="#${c.accent}"/>`],
  [/venue.*(beach|coast|sea|harbour|island)/, (c) => `<path fill="none" stroke="#${c.near}" stroke-width="7" d="M112 190V98h96v92"/><path fill="#${c.motif}" d="M104 92h112v10q-20 34-46 10-6 60-46 78 8-40-6-66-8-6-14-22z"/>${bloom(112, 100, 13, c.accent, c.motif)}${bloom(134, 94, 10, c.motif, c.accent)}${bloom(206, 102, 12, c.accent, c.motif)}`],
  [/venue.*(industrial|warehouse|urban|loft|city)/, (c) => `<path fill="#${c.motif}" d="M74 190v-68l43-30v30l43-30v30l43-30v30l43-30v98z"/><path fill="#${c.accent}" d="M90 136h26v20H90zm38 0h26v20h-26zm38 0h26v20h-26zm38 0h26v20h-26zM146 166h28v24h-28z"/>`],
  [/venue.*(rustic|barn|farm|lodge|orchard)/, (c) => `<path fill="#${c.motif}" d="M94 190v-62l20-34 46-24 46 24 20 34v62z"/><path fill="#${c.accent}" d="M134 190v-50h52v50z"/><path stroke="#${c.motif}" stroke-width="5" fill="none" d="M134 140l52 50m0-50l-52 50m26-50v50"/><circle cx="160" cy="108" r="11" fill="#${c.accent}"/>`],
  [/venue/, (c) => `<path fill="none" stroke="#${c.motif}" stroke-width="9" d="M108 190v-58a52 52 0 0 1 104 0v58"/><path fill="#${c.near}" fill-opacity=".25" d="M122 190v-56a38 38 0 0 1 76 0v56z"/>${bloom(110, 112, 15, c.accent, c.motif)}${bloom(128, 92, 12, c.motif, c.accent)}${bloom(206, 108, 14, c.accent, c.motif)}${bloom(190, 90, 10, c.motif, c.accent)}`],
];
const other = (c) => `<path fill="#${c.motif}" d="M160 186l-54-54a29 29 0 0 1 54-34 29 29 0 0 1 54 34z"/><path fill="#${c.accent}" fill-opacity=".8" d="M160 168l-36-37a19 19 0 0 1 36-22 19 19 0 0 1 36 22z"/>`;

const SCENES = {
  hills: (c, r) => `${wave(128 + r() * 14, 18, 90 + r() * 60, c.far)}${wave(158 + r() * 10, 12, 70 + r() * 50, c.near)}${lights(c, r)}`,
  waves: (c, r) => `${[0, 1, 2, 3].map((i) => wave(130 + i * 19, 5 + i, 34 + i * 8, i % 2 ? c.near : c.far, 1 - i * 0.12, r() * 40)).join("")}<path fill="#${c.sun}" d="M0 198q160-22 320 0v22H0z"/>`,
  peaks: (c, r) => `<path fill="#${c.far}" d="M-10 220L${60 + r() * 40} 74l70 90 ${30 + r() * 20}-52 80 60 60-70 90 118z"/><path fill="#fff" d="M${74 + r() * 12} 92l-18 30 18-6 10 10 12-8z"/>${wave(176, 8, 80, c.near)}`,
  city: (c, r) => `${[...Array(9)].map((_, i) => `<path fill="#${c.far}" fill-opacity="${0.55 + r() * 0.4}" d="M${i * 38 - 8} 220v-${64 + r() * 76}h${26 + r() * 12}V220z"/>`).join("")}<path fill="#${c.near}" d="M0 188h320v32H0z"/>`,
  arches: (c, r) => `${[0, 1, 2, 3, 4].map((i) => `<path fill="#${i % 2 ? c.horizon : c.sun}" fill-opacity=".75" d="M${i * 68 - 16} 220v-${100 + r() * 30}a27 27 0 0 1 54 0V220z"/>`).join("")}<path fill="#${c.near}" d="M0 188h320v32H0z"/>`,
  rays: (c, r) => `<g fill="#${c.sun}" fill-opacity=".5">${[...Array(12)].map((_, i) => { const a = Math.PI * (1 + i / 12), b = a + 0.13; return `<path d="M160 190L${160 + 320 * Math.cos(a)} ${190 + 320 * Math.sin(a)} ${160 + 320 * Math.cos(b)} ${190 + 320 * Math.sin(b)}z"/>`; }).join("")}</g>${wave(176 + r() * 6, 7, 60, c.near)}`,
};

function bloom(x, y, size, petal, heart) {
  const petals = [0, 60, 120].map((turn) => `<ellipse rx="${size}" ry="${size * 0.45}" transform="rotate(${turn})"/>`);
  return `<g transform="translate(${x} ${y})" fill="#${petal}">${petals.join("")}<circle r="${size * 0.34}" fill="#${heart}"/></g>`;
}

function wave(y, height, length, colour, opacity = 1, shift = 0) {
  let path = `M${-length - shift} ${y}`;
  for (let x = -length - shift; x < 330; x += length) path += `q${length / 2} ${-height} ${length} 0t${length} 0`;
  return `<path fill="#${colour}" fill-opacity="${opacity}" d="${path}V220H-200z"/>`;
}

function lights(c, r) {
  const sag = 26 + r() * 22, bulbs = [...Array(11)].map((_, i) => { const t = (i + 0.5) / 11; return `<circle cx="${320 * t}" cy="${22 + 4 * sag * t * (1 - t) + 5}" r="3.4"/>`; });
  return `<path fill="none" stroke="#${c.near}" stroke-opacity=".5" d="M0 22Q160 ${22 + 2 * sag} 320 22"/><g fill="#${c.accent}">${bulbs.join("")}</g>`;
}

/** The colour of the item's dot. */
export const colour = (item) => `#${palette(item).far}`;

/** Six hex digits for each part of the picture. */
function palette(item) {
  const [, name] = styleOf(item);
  const [sky, horizon, sun, far, near, motif, accent] = PALETTES[name].split(" ");
  return { sky, horizon, sun, far, near, motif, accent };
}

function styleOf(item) {
  const words = item.tags.join(" ").toLowerCase(), r = random(item.id);
  return STYLES.find(([pattern]) => pattern.test(words))
    ?? [null, Object.keys(PALETTES)[Math.floor(r() * 10)], BACKDROPS[Math.floor(r() * 4)]];
}

/** The inside of an <svg viewBox="0 0 320 220">. */
export function picture(item, number) {
  const c = palette(item), r = random(item.id);
  const words = `${item.kind} ${item.kind === "venue" ? item.tags.join(" ") : ""}`.toLowerCase();
  const motif = (MOTIFS.find(([pattern]) => pattern.test(words)) ?? [null, other])[1];
  const sunX = 50 + r() * 220, tilt = (r() - 0.5) * 3, size = 0.92 + r() * 0.14;
  return `<defs><linearGradient id="sky${number}" x2="0" y2="1"><stop stop-color="#${c.sky}"/><stop offset="1" stop-color="#${c.horizon}"/></linearGradient></defs>`
    + `<path fill="url(#sky${number})" d="M0 0h320v220H0z"/><circle cx="${sunX}" cy="${50 + r() * 26}" r="${24 + r() * 14}" fill="#${c.sun}" fill-opacity=".9"/>`
    + SCENES[styleOf(item)[2]](c, r)
    + `<ellipse cx="160" cy="191" rx="92" ry="7" fill="#000" fill-opacity=".16"/><g transform="rotate(${tilt} 160 190) translate(160 190) scale(${size}) translate(-160 -190)">${motif(c, r)}</g>`;
}
