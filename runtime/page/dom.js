// Small tools that every page uses.

const NS = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; undefined and false attributes are left out, true ones are empty. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
}

/** An SVG element with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A button that runs `act`, and shows what went wrong. */
export function button(text, act, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, ...[text].flat());
  made.onclick = () => guard(act);
  return made;
}

/** Run, and show what went wrong. */
export async function guard(act) {
  try {
    $("fault")?.remove();
    return await act();
  } catch (error) {
    document.body.append(element("p", { id: "fault", role: "alert" }, error.message));
  }
}

/** Forms of a page whose data is there. Until then they are disabled: what is typed or sent earlier would be lost. */
export function enable(...forms) {
  for (const form of forms) for (const control of form.elements) control.disabled = false;
}

/** For screen readers. */
export const say = (text) => { $("say").textContent = text; };

export const percent = (share) => `${Math.round(share * 100)} %`;

export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** How long ago, in words. */
export function ago(timestamp) {
  const minutes = Math.max(0, (Date.now() - Date.parse(timestamp)) / 60_000);
  const [count, unit] = minutes < 60 ? [minutes, "minute"] : minutes < 2880 ? [minutes / 60, "hour"] : [minutes / 1440, "day"];
  const whole = Math.floor(count);
  return whole || unit !== "minute" ? `${counted(whole, unit)} ago` : "just now";
}

/** A dialog with a title and a button that closes it; opened at once, removed when closed. */
export function dialog(id, title, ...children) {
  $(id)?.remove();
  const close = button("Close", () => made.close(), { class: "close" });
  const made = element("dialog", { id, "aria-labelledby": `${id}-title` },
    element("div", { class: "inner" }, element("h2", { id: `${id}-title` }, title), ...children), close);
  made.onclose = () => made.remove();
  made.onclick = (event) => { if (event.target === made) made.close(); };
  document.body.append(made);
  made.showModal();
  return made;
}
