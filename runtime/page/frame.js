// What all pages share: the links between them, the visitor's name, the dialog for a key, the list of requests.

import { $, button, dialog, element, svg } from "./dom.js";
import { inCurl, inPython, inTypeScript } from "./code.js";
import { onAnswer, ROOT } from "./server.js";

const PAGES = { Feed: ".", Compare: "page/compare.html", Events: "page/events.html", Models: "page/models.html",
  Experiments: "page/experiments.html", API: "docs" };
const LANGUAGES = { curl: inCurl, Python: inPython, TypeScript: inTypeScript };
const MOST_REQUESTS = 8;

/** Fill <header> and add what is hidden until it is needed; `current` is the name of this page. */
export function frame(current) {
  const mark = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: "m6 17 6-11 7 8z" }),
    ...[[6, 17], [12, 6], [19, 14]].map(([cx, cy]) => svg("circle", { cx, cy, r: 3 })));
  const links = Object.entries(PAGES).map(([name, path]) =>
    element("a", { href: new URL(path, ROOT).href, "aria-current": name === current && "page" }, name));
  document.querySelector("header").prepend(
    element("p", { class: "brand" }, mark, "vows", element("i", {}, "edge")),
    element("nav", { "aria-label": "Pages" }, ...links));
  const form = element("form", { method: "dialog" },
    element("h2", { id: "key-title" }, "This server asks for an API key"),
    element("p", {}, "It stays in this tab. Clicking needs the scope write beside read, the buttons of experiments and models need admin."),
    element("label", { for: "key-text" }, "Key"),
    element("input", { id: "key-text", type: "password", autocomplete: "off", required: true }),
    element("button", {}, "Use it"));
  document.body.append(element("p", { id: "say", class: "hidden", "aria-live": "polite" }),
    element("dialog", { id: "key", "aria-labelledby": "key-title" }, form));
  if ($("requests")) listRequests();
}

/** The visitor: a name that all pages of this tab share. */
export const visitor = () => sessionStorage.getItem("user") ?? become(`visitor-${Math.random().toString(36).slice(2, 8)}`);

export function become(user) {
  sessionStorage.setItem("user", user);
  return user;
}

function listRequests() {
  const list = $("requests");
  onAnswer((request) => {
    const { pathname, search } = new URL(request.url);
    const path = pathname.slice(new URL(ROOT).pathname.length - 1) + search;
    const shown = [element("b", {}, request.method), ` ${path} `, element("span", {}, `${request.ms.toFixed(0)} ms`)];
    list.prepend(element("li", {}, button(shown, () => showRequest(request), { title: "Copy as curl, Python or TypeScript" })));
    while (list.children.length > MOST_REQUESTS) list.lastChild.remove();
  });
}

function showRequest(request) {
  const code = element("pre", { tabindex: "0", "aria-label": "The request as code" });
  const tabs = Object.entries(LANGUAGES).map(([name, write]) => button(name, () => {
    code.textContent = write(request);
    tabs.forEach((tab) => tab.setAttribute("aria-pressed", tab.textContent === name));
  }));
  const copy = button("Copy", async () => {
    if (navigator.clipboard) await navigator.clipboard.writeText(code.textContent);
    else getSelection().selectAllChildren(code); // the clipboard is closed to pages without TLS: for Ctrl+C
    copy.textContent = navigator.clipboard ? "Copied" : "Selected";
  });
  dialog("request", "This request as code", element("div", { class: "tabs", role: "group", "aria-label": "Language" }, ...tabs, copy), code);
  tabs[0].click();
}
