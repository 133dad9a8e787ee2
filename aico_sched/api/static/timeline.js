// Each task on a line of time: its runs so far, and when it will fire within the coming day.

import { get } from "./api.js";
import { showRun, showTask } from "./details.js";
import { button, h, notice } from "./dom.js";
import { clockTime, kindOf, shortTime, span, when } from "./format.js";
import { List } from "./list.js";
import { changed, loadRuns, startOf, store } from "./store.js";

const HOUR = 3_600_000;
const AHEAD = 24 * HOUR;
const MOST_SLOTS = 100;
const PAGES = 6;
const TICK_PX = 40;

// When a schedule fires from now on: asked once per schedule, zone and ten minutes, a few at a time.
const forecasts = new Map();
const waiting = [];
let asking = 0;

function forecast(task, now) {
  if (task.state !== "active" || !task.next_run) return { slots: [] };
  const next = Date.parse(task.next_run);
  if (task.schedule.startsWith("interval:")) {
    const step = Number(task.schedule.slice(9)) * 1000;
    if (task.options.fixed_delay || !(step > 0)) return { slots: [next] };
    const count = Math.min(MOST_SLOTS, Math.max(1, Math.ceil((now + AHEAD - next) / step)));
    return { slots: Array.from({ length: count }, (_, n) => next + n * step), dense: count === MOST_SLOTS };
  }
  if (task.schedule.startsWith("at:") || task.schedule.startsWith("@reboot")) return { slots: [next] };
  const key = `${task.schedule} ${task.timezone} ${Math.floor(now / 600_000)}`;
  if (!forecasts.has(key)) {
    forecasts.set(key, { slots: [next] });
    waiting.push({ key, task });
    ask();
  }
  return forecasts.get(key);
}

async function ask() {
  if (asking >= 4 || waiting.length === 0) return;
  asking += 1;
  const { key, task } = waiting.shift();
  try {
    const told = await get("/explain", { schedule: task.schedule, timezone: task.timezone, count: MOST_SLOTS });
    const slots = told.next.map((each) => Date.parse(each));
    forecasts.set(key, { slots, dense: slots.length === MOST_SLOTS && slots.at(-1) < Date.now() + AHEAD });
    changed();
  } catch {
    forecasts.delete(key);
  }
  asking -= 1;
  ask();
}

export function timelineView() {
  let past = 6 * HOUR;
  let left = 0;
  let right = 0;
  let byTask = new Map();
  let text = "";
  let loading = false;
  const search = h("input", {
    type: "search",
    placeholder: "Search tasks  ( / )",
    "aria-label": "Search tasks",
    on: {
      input: () => {
        text = search.value.toLowerCase();
        update();
      },
    },
  });
  const range = h(
    "select",
    {
      "aria-label": "Range",
      on: {
        change: () => {
          past = Number(range.value) * HOUR;
          load();
        },
      },
    },
    [
      [1, "Past hour"],
      [6, "Past 6 hours"],
      [24, "Past 24 hours"],
    ].map(([hours, label]) => h("option", { value: hours, selected: hours === 6 }, label)),
  );
  const note = h("span", { class: "muted", role: "status" });
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  // The past is as wide as the coming day, so that a run of seconds can be seen.
  const place = (at) => {
    const now = left + past;
    return at <= now ? ((at - left) / past) * 50 : 50 + ((at - now) / AHEAD) * 50;
  };

  const list = new List({
    label: "Timeline",
    rowHeight: 40,
    key: (task) => task.task_id,
    signature: (task) =>
      JSON.stringify([
        left,
        past,
        task.state,
        task.revision,
        forecast(task, left + past).slots.length,
        (byTask.get(task.task_id) ?? []).map((run) => run.execution_id + run.status),
      ]),
    columns: [
      {
        label: "Task",
        class: "c-name",
        cell: (task) => h("span", { class: "clip", title: task.task_id }, task.task_id),
      },
      { label: "Past and coming runs", class: "c-track", cell: (task) => track(task) },
    ],
    onOpen: (task) => showTask(task.task_id),
  });
  list.element.querySelector(".list-head .c-track").append(axis);

  function track(task) {
    const runs = (byTask.get(task.task_id) ?? []).filter((run) => endOf(run) >= left && startOf(run) <= right);
    const planned = forecast(task, left + past);
    const failed = runs.filter((run) => run.status === "dead").length;
    const words = `${runs.length} runs${failed ? `, ${failed} failed` : ""}${task.next_run ? `, next ${when(task.next_run)}` : ""}`;
    return h(
      "span",
      { class: "track", role: "img", "aria-label": words },
      h("span", { class: "now", style: { left: "50%" } }),
      planned.dense &&
        h("span", {
          class: "band",
          style: { left: "50%", width: "50%" },
          title: `More than ${MOST_SLOTS} runs planned`,
        }),
      !planned.dense &&
        planned.slots
          .filter((at) => at > left + past && at <= right)
          .map((at) =>
            h("span", {
              class: "slot",
              style: { left: `${place(at)}%` },
              title: `Planned ${when(new Date(at).toISOString())}`,
            }),
          ),
      runs.map((run) => {
        const from = Math.max(0, Math.min(49.7, place(startOf(run))));
        const width = Math.max(0, Math.min(50, place(Math.min(endOf(run), left + past))) - from);
        return button("", () => showRun(run.execution_id), {
          class: `run ${kindOf(run.status)}`,
          tabindex: -1,
          style: { left: `${from}%`, width: `max(4px, ${width}%)` },
          title: `${run.status} · ${clockTime(run.started_at ?? run.scheduled_for)} · ${span(run.duration_seconds)}`,
          "aria-label": `${run.status}, ${when(run.started_at ?? run.scheduled_for)}`,
        });
      }),
    );
  }

  const endOf = (run) =>
    run.completed_at ? Date.parse(run.completed_at) : run.status === "running" ? Date.now() : startOf(run);

  async function load() {
    loading = true;
    update();
    try {
      const more = await loadRuns({ since: new Date(Date.now() - past).toISOString(), limit: 1000 }, PAGES);
      note.textContent = more ? `The newest ${PAGES * 1000} runs are shown` : "";
    } catch (error) {
      note.textContent = error.message;
    }
    loading = false;
    update();
  }

  function drawAxis() {
    const now = left + past;
    const room = (TICK_PX / (axis.clientWidth || 800)) * 100;
    const ticks = [...hours(left, now, past / 4), ...hours(now, right, AHEAD / 4)].filter(
      (at) => Math.abs(place(at) - 50) > room && place(at) > room / 2 && place(at) < 100 - room / 2,
    );
    axis.replaceChildren(
      h("span", { class: "tick now-tick", style: { left: "50%" } }, "now"),
      ...ticks.map((at) => h("span", { class: "tick", style: { left: `${place(at)}%` } }, shortTime(at))),
    );
  }

  // Moments between two others that a clock on the wall would show as round.
  function hours(from, to, step) {
    const midnight = new Date(from).setHours(0, 0, 0, 0);
    const found = [];
    for (let at = midnight + Math.ceil((from - midnight) / step) * step; at < to; at += step) found.push(at);
    return found;
  }

  function update() {
    // Ten seconds are nothing to see here, and rows that stay need not be drawn.
    right = Math.floor(Date.now() / 10_000) * 10_000 + AHEAD;
    left = right - AHEAD - past;
    byTask = new Map();
    for (const run of store.runs.values()) {
      if (!byTask.has(run.task_id)) byTask.set(run.task_id, []);
      byTask.get(run.task_id).push(run);
    }
    const tasks = [...store.tasks.values()].filter((task) => task.task_id.toLowerCase().includes(text));
    const busy = (task) => (byTask.has(task.task_id) ? 0 : task.next_run && Date.parse(task.next_run) < right ? 1 : 2);
    tasks.sort((a, b) => busy(a) - busy(b) || a.task_id.localeCompare(b.task_id));
    drawAxis();
    list.show(tasks, store.loaded && !loading ? notice("No tasks", "There is nothing to draw.") : notice("Loading …"));
  }

  const legend = h(
    "span",
    { class: "legend" },
    [
      ["good", "succeeded"],
      ["busy", "running"],
      ["bad", "failed"],
      ["warn", "missed"],
      ["plan", "planned"],
    ].map(([kind, label]) => h("span", {}, h("i", { class: kind }), label)),
  );
  load();
  return {
    element: h(
      "section",
      { class: "view timeline", "aria-label": "Timeline" },
      h("div", { class: "tools" }, search, range, note, h("span", { class: "spacer" }), legend),
      list.element,
    ),
    update,
    destroy: () => list.destroy(),
    keys: { "/": () => search.focus() },
  };
}
