// The list of tasks: search, filters, and what one does to a task a hundred times.

import { hold, trigger } from "./actions.js";
import { showTask } from "./details.js";
import { badge, button, h, icon, notice } from "./dom.js";
import { editTask } from "./editor.js";
import { kindOf, many, relative, when } from "./format.js";
import { List } from "./list.js";
import { loadAll, store } from "./store.js";

const STATES = ["active", "paused", "disabled", "unavailable", "finished"];

export function tasksView() {
  const chosen = { text: "", state: "", tag: "" };
  const count = h("span", { class: "muted", role: "status" });
  const search = h("input", {
    type: "search",
    placeholder: "Search tasks  ( / )",
    "aria-label": "Search tasks",
    id: "search",
    on: {
      input: () => {
        chosen.text = search.value.toLowerCase();
        update();
      },
    },
  });
  const state = h(
    "select",
    {
      "aria-label": "State",
      on: {
        change: () => {
          chosen.state = state.value;
          update();
        },
      },
    },
    h("option", { value: "" }, "Any state"),
    STATES.map((each) => h("option", { value: each }, each)),
  );
  const tag = h("select", {
    "aria-label": "Tag",
    on: {
      change: () => {
        chosen.tag = tag.value;
        update();
      },
    },
  });
  let tags = null;
  let lastRuns = new Map();

  const act = (label, name, symbol, handler) =>
    button(symbol, handler, { class: "quiet", title: label, "aria-label": label, data: { action: name } });
  const list = new List({
    label: "Tasks",
    key: (item) => item.task_id,
    signature: (item) =>
      `${item.revision} ${item.state} ${item.run_count} ${relative(item.next_run)} ${relative(item.last_run)} ${lastRuns.get(item.task_id)?.status} ${item.warnings.length}`,
    columns: [
      {
        label: "Task",
        class: "c-main",
        cell: (item) => [
          h("strong", { class: "clip" }, item.task_id),
          h("span", { class: "muted clip" }, item.options.description ?? item.task_class),
        ],
      },
      {
        label: "Schedule",
        class: "c-schedule",
        cell: (item) => [
          h("code", { class: "clip" }, item.schedule),
          h("span", { class: "muted clip" }, item.timezone),
        ],
      },
      {
        label: "Next",
        class: "c-time",
        cell: (item) =>
          h("span", { title: when(item.next_run) }, item.state === "active" ? relative(item.next_run) : "–"),
      },
      { label: "Last run", class: "c-last", cell: (item) => last(item) },
      {
        label: "State",
        class: "c-state",
        cell: (item) => [
          badge(item.state, kindOf(item.state)),
          item.warnings.length > 0 &&
            h(
              "span",
              { class: "warn-mark", title: item.warnings.join("\n"), role: "img", "aria-label": "has warnings" },
              "!",
            ),
        ],
      },
      {
        label: "",
        class: "c-actions",
        cell: (item) => [
          act(`Run ${item.task_id} now`, "run", icon("play"), () => trigger(item)),
          ["active", "paused"].includes(item.state) &&
            act(
              `${item.state === "paused" ? "Resume" : "Pause"} ${item.task_id}`,
              "hold",
              icon(item.state === "paused" ? "resume" : "pause"),
              () => hold(store.tasks.get(item.task_id) ?? item),
            ),
        ],
      },
    ],
    onOpen: (item) => showTask(item.task_id),
    onKey: (item, key) => {
      const keys = { r: () => trigger(item), p: () => hold(item), e: () => editTask(item) };
      if (!item || !keys[key]) return false;
      keys[key]();
      return true;
    },
  });

  function last(item) {
    const run = lastRuns.get(item.task_id);
    const at = run?.started_at ?? item.last_run;
    if (!run && !at) return h("span", { class: "muted" }, "never");
    return h("span", { title: when(at) }, run && badge(run.status, `${kindOf(run.status)} dot`), relative(at));
  }

  function update() {
    lastRuns = new Map();
    for (const run of store.runs.values()) {
      const known = lastRuns.get(run.task_id);
      if (!known || (run.started_at ?? run.scheduled_for) > (known.started_at ?? known.scheduled_for))
        lastRuns.set(run.task_id, run);
    }
    const there = [...new Set([...store.tasks.values()].flatMap((item) => item.options.tags ?? []))].sort();
    if (JSON.stringify(there) !== tags) {
      tags = JSON.stringify(there);
      tag.replaceChildren(
        h("option", { value: "" }, "Any tag"),
        ...there.map((each) => h("option", { value: each, selected: each === chosen.tag }, each)),
      );
      tag.hidden = there.length === 0;
    }
    const matches = (item) =>
      (!chosen.state || item.state === chosen.state) &&
      (!chosen.tag || item.options.tags?.includes(chosen.tag)) &&
      (!chosen.text ||
        `${item.task_id} ${item.task_class} ${item.options.description ?? ""} ${item.options.owner ?? ""} ${item.schedule}`
          .toLowerCase()
          .includes(chosen.text));
    const shown = [...store.tasks.values()].filter(matches).sort((a, b) => a.task_id.localeCompare(b.task_id));
    count.textContent =
      shown.length === store.tasks.size
        ? many(shown.length, "task")
        : `${shown.length} of ${many(store.tasks.size, "task")}`;
    list.show(shown, empty());
  }

  function empty() {
    if (!store.loaded) return notice("Loading the tasks …");
    if (store.error && store.tasks.size === 0)
      return notice("The tasks cannot be loaded", store.error.message, button("Try again", loadAll));
    if (store.tasks.size === 0)
      return notice(
        "There are no tasks yet",
        "A task says what runs, and when.",
        button("New task", () => editTask(), { class: "primary" }),
      );
    return notice(
      "No task is like that",
      "Change the search or the filters.",
      button("Show all", () => {
        Object.assign(chosen, { text: "", state: "", tag: "" });
        search.value = state.value = tag.value = "";
        update();
      }),
    );
  }

  const element = h(
    "section",
    { class: "view", "aria-label": "Tasks" },
    h(
      "div",
      { class: "tools" },
      search,
      state,
      tag,
      count,
      h("span", { class: "spacer" }),
      button("New task", () => editTask(), { class: "primary", title: "New task (n)" }),
    ),
    list.element,
  );
  return { element, update, destroy: () => list.destroy(), keys: { "/": () => search.focus(), n: () => editTask() } };
}
