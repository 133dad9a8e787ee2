// Elements from data. Text is always text: nothing here, nor anywhere else, parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name === "data") for (const [key, each] of Object.entries(value)) element.dataset[key] = each;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export function replace(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
}

export function button(label, handler, props = {}) {
  return h("button", { type: "button", on: { click: handler }, ...props }, label);
}

const SHAPES = {
  play: "M5 3.5v9l7.5-4.5z",
  pause: "M4.5 3.5h2.5v9h-2.5z M9 3.5h2.5v9h-2.5z",
  resume: "M3.5 3.5h2v9h-2z M7 3.5v9l6-4.5z",
  close: "M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z",
};

export const icon = (name) =>
  svg(
    "svg",
    { viewBox: "0 0 16 16", width: 14, height: 14, class: "icon", "aria-hidden": "true" },
    svg("path", { d: SHAPES[name] }),
  );

export function badge(text, kind) {
  return h("span", { class: `badge ${kind}` }, text);
}

// Empty, loading and failed states look alike everywhere.
export function notice(title, detail, ...actions) {
  return h(
    "div",
    { class: "notice" },
    h("p", { class: "notice-title" }, title),
    detail && h("p", { class: "muted" }, detail),
    actions.length > 0 && h("p", { class: "actions" }, actions),
  );
}

export function toast(text, kind = "") {
  const shown = h("div", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), kind === "bad" ? 9000 : 4000);
}

let titles = 0;

// A modal dialog with a heading; focus goes in, Escape closes, and focus returns to where it was.
export function dialog(title, { sheet = false, onClose } = {}) {
  const id = `dialog-${(titles += 1)}`;
  const body = h("div", { class: "dialog-body" });
  const heading = h("h2", { id }, title);
  const box = h(
    "dialog",
    { class: sheet ? "sheet" : "box", "aria-labelledby": id },
    h(
      "header",
      { class: "dialog-head" },
      heading,
      button(icon("close"), () => box.close(), { class: "quiet", "aria-label": "Close" }),
    ),
    body,
  );
  const before = document.activeElement;
  const key = before?.closest("[data-key]")?.dataset.key;
  box.addEventListener("close", () => {
    box.remove();
    onClose?.();
    // A row may have been drawn anew meanwhile.
    const back = before?.isConnected
      ? before
      : key && document.querySelector(`.list-space [data-key="${CSS.escape(key)}"]`);
    back?.focus();
  });
  box.addEventListener("click", (event) => {
    if (event.target === box) box.close();
  });
  document.body.append(box);
  box.showModal();
  return { box, body, heading, close: () => box.close() };
}

export function ask(title, detail, action, kind = "danger") {
  return new Promise((resolve) => {
    const { body, close } = dialog(title, { onClose: () => resolve(false) });
    const sure = button(
      action,
      () => {
        resolve(true);
        close();
      },
      { class: kind },
    );
    body.append(h("p", {}, detail), h("p", { class: "actions" }, sure, button("Keep it", close)));
    sure.focus();
  });
}
