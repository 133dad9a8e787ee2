// The page: who is signed in, which view is shown, and the keys that work everywhere.

import { dropToken, onRefused, setToken, takeToken } from "./api.js";
import { deadView } from "./dead.js";
import { dialog, h, replace } from "./dom.js";
import { healthView } from "./health.js";
import { runsView } from "./runs.js";
import { changed, connection, live, loadAll, onChange, sample, store } from "./store.js";
import { tasksView } from "./tasks.js";
import { timelineView } from "./timeline.js";

const VIEWS = [
  ["tasks", "Tasks", tasksView],
  ["timeline", "Timeline", timelineView],
  ["runs", "Runs", runsView],
  ["dead", "Dead letters", deadView],
  ["health", "Health", healthView],
];
const SAMPLE_MS = 5000;
const SHORTCUTS = [
  ["1 – 5", "Switch the view"],
  ["/", "Search"],
  ["n", "New task (in Tasks)"],
  ["↑ ↓ Home End", "Move in a list"],
  ["Enter", "Open what is selected"],
  ["r  p  e", "Run, pause or resume, edit the selected task"],
  ["c", "Cancel the selected run"],
  ["q  d", "Requeue, discard the selected dead letter"],
  ["Esc", "Close what is open"],
  ["?", "This help"],
];

const main = document.getElementById("view");
const nav = document.getElementById("nav");
let view = null;
let name = null;
let stopLive = null;

function show(wanted) {
  const [key, label, make] = VIEWS.find(([each]) => each === wanted) ?? VIEWS[0];
  if (key === name) return;
  view?.destroy();
  name = key;
  view = make();
  document.title = `${label} · aico-sched`;
  replace(main, view.element);
  view.update();
  drawFrame();
  history.replaceState(null, "", `#${key}`);
}

function drawFrame() {
  for (const link of nav.children) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (link.dataset.view === "dead")
      link.querySelector(".count").textContent = store.dead.length ? String(store.dead.length) : "";
  }
  const { kind, text } = connection();
  const shown = document.getElementById("connection");
  if (shown.textContent !== text) shown.textContent = text;
  shown.className = `connection ${kind}`;
}

function help() {
  const { body } = dialog("Keyboard shortcuts");
  body.append(
    h(
      "dl",
      { class: "keys" },
      SHORTCUTS.map(([keys, what]) => [
        h(
          "dt",
          {},
          keys.split("  ").map((each) => h("kbd", {}, each)),
        ),
        h("dd", {}, what),
      ]),
    ),
  );
}

function signIn(message) {
  if (document.getElementById("sign-in")) return;
  stopLive?.();
  stopLive = null;
  dropToken();
  view?.destroy();
  view = name = null;
  nav.hidden = true;
  const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = h(
    "form",
    {
      id: "sign-in",
      class: "sign-in",
      on: {
        submit: (event) => {
          event.preventDefault();
          setToken(input.value.trim());
          start();
        },
      },
    },
    h("h1", {}, "aico-sched"),
    h(
      "p",
      { class: "muted" },
      "The dashboard needs the token of this service. `aico-sched web` says where it is; opened in a terminal, it prints an address that brings it along.",
    ),
    message && h("p", { class: "field-error", role: "alert" }, message),
    h("label", { for: "token" }, "Token"),
    input,
    h("button", { type: "submit", class: "primary" }, "Sign in"),
  );
  replace(main, form);
  input.focus();
}

function start() {
  nav.hidden = false;
  store.loaded = false;
  const hash = location.hash.slice(1);
  replace(main);
  show(hash);
  loadAll();
  stopLive ??= live();
}

function keydown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !view) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const number = Number(event.key);
  if (number >= 1 && number <= VIEWS.length) {
    show(VIEWS[number - 1][0]);
    main.focus();
  } else if (event.key === "?") help();
  else if (view.keys[event.key]) view.keys[event.key]();
  else if (event.key === "ArrowDown" && !main.querySelector(".row:focus"))
    main.querySelector('.row[tabindex="0"]')?.focus();
  else return;
  event.preventDefault();
}

nav.append(
  ...VIEWS.map(([key, label], n) =>
    h(
      "a",
      {
        href: `#${key}`,
        title: `${label} (${n + 1})`,
        data: { view: key },
        on: {
          click: (event) => {
            event.preventDefault();
            show(key);
          },
        },
      },
      label,
      key === "dead" && h("span", { class: "count" }),
    ),
  ),
);
document.getElementById("help").addEventListener("click", help);
document.addEventListener("keydown", keydown);
window.addEventListener("hashchange", () => {
  if (takeToken() && !view) start();
  else if (view) show(location.hash.slice(1));
});
onChange(() => {
  if (view) {
    view.update();
    drawFrame();
  }
});
onRefused(() => signIn("That is not the token of this service."));
setInterval(() => {
  if (view && document.visibilityState === "visible") sample().catch(() => {});
}, SAMPLE_MS);
setInterval(changed, 5000);

if (takeToken()) start();
else signIn();
