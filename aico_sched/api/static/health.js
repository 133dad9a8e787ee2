// How the service and its machine are, now and over the last hour.

import { badge, button, h, notice, replace, svg } from "./dom.js";
import { kindOf, span } from "./format.js";
import { loadAll, store } from "./store.js";

const WIDTH = 300;
const HEIGHT = 64;

function chart(title, unit, pick, least = 1, digits = 0) {
  const values = store.samples.map(pick);
  const top = Math.max(least, ...values);
  const first = store.samples[0]?.at ?? 0;
  const passed = (store.samples.at(-1)?.at ?? 0) - first;
  const x = (n) => (passed > 0 ? ((store.samples[n].at - first) / passed) * WIDTH : WIDTH);
  const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 6);
  const points = values.map((value, n) => `${x(n).toFixed(1)},${y(value).toFixed(1)}`);
  const now = values.at(-1) ?? 0;
  const shown = `${now.toFixed(digits)}${unit}`;
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("span", { class: "muted" }, title), h("strong", { class: "num" }, shown)),
    svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `${title}: now ${shown}, at most ${Math.max(0, ...values).toFixed(digits)}${unit}`,
      },
      svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 2, y2: HEIGHT - 2 }),
      points.length > 1 &&
        svg("polygon", { class: "area", points: `0,${HEIGHT - 2} ${points.join(" ")} ${WIDTH},${HEIGHT - 2}` }),
      points.length > 1 && svg("polyline", { class: "curve", points: points.join(" ") }),
    ),
    h("span", { class: "muted small-text" }, `up to ${top.toFixed(digits)}${unit}`, passed >= 60_000 && `, ${span(passed / 1000)}`),
  );
}

// Empty lists and maps are nothing to tell.
const telling = ([key, value]) =>
  key !== "ok" && value !== null && (typeof value !== "object" || Object.keys(value).length > 0);
const number = (value) =>
  typeof value === "number"
    ? Number.isInteger(value)
      ? String(value)
      : value.toPrecision(3)
    : typeof value === "string"
      ? value
      : JSON.stringify(value);

function checkRow([name, found]) {
  const rest = Object.entries(found)
    .filter(telling)
    .map(([key, value]) => `${key.replaceAll("_", " ")} ${number(value)}`);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name.replaceAll("_", " ")),
    h("td", {}, badge(found.ok === false ? "failed" : "ok", found.ok === false ? "bad" : "good")),
    h("td", { class: "muted" }, rest.join(" · ")),
  );
}

export function healthView() {
  const element = h("section", { class: "view scroll", "aria-label": "Health" });
  let drawn = "";

  function update() {
    const { health, stats } = store;
    if (!health) {
      replace(
        element,
        store.loaded
          ? notice("The service does not answer", store.error?.message, button("Try again", loadAll))
          : notice("Loading …"),
      );
      return;
    }
    const now = JSON.stringify([store.samples.at(-1), health]);
    if (now === drawn) return;
    drawn = now;
    const counts = stats.executions;
    const tiles = [
      ["Uptime", span(stats.uptime_seconds)],
      ["Running", counts.running],
      ["Succeeded", counts.succeeded],
      ["Failed", (counts.failed ?? 0) + (counts.timed_out ?? 0)],
      ["Dead letters", health.checks.dead_letters?.count ?? store.dead.length],
      ["Version", health.version],
    ];
    replace(
      element,
      h(
        "div",
        { class: `health-head ${kindOf(health.status)}` },
        badge(health.status, kindOf(health.status)),
        h("span", {}, health.ready ? "ready" : "not ready"),
        health.reasons.length > 0 &&
          h(
            "ul",
            {},
            health.reasons.map((each) => h("li", {}, each)),
          ),
      ),
      h(
        "div",
        { class: "tiles" },
        tiles.map(([name, value]) =>
          h(
            "div",
            { class: "tile" },
            h("span", { class: "muted" }, name),
            h("strong", { class: "num" }, String(value ?? 0)),
          ),
        ),
      ),
      h(
        "div",
        { class: "charts" },
        chart("CPU", " %", (each) => each.cpu, 100),
        chart("Memory", " %", (each) => each.memory, 100),
        chart("Runs ended", " /s", (each) => each.rate, 1, 1),
        chart("Running", "", (each) => each.running, 1),
        chart("Due and waiting", "", (each) => each.waiting, 1),
        chart("Loop lag", " ms", (each) => each.lag, 5, 1),
      ),
      h("h3", {}, "Checks"),
      h("table", { class: "checks" }, h("tbody", {}, Object.entries(health.checks).map(checkRow))),
    );
  }

  return { element, update, destroy: () => {}, keys: {} };
}
