// Runs as they happen, newest first, and the older ones on demand.

import { cancel } from "./actions.js";
import { bar, showRun } from "./details.js";
import { badge, button, h, notice } from "./dom.js";
import { clockTime, fraction, kindOf, many, RUNNING, said, span, when } from "./format.js";
import { List } from "./list.js";
import { changed, loadRuns, startOf, store } from "./store.js";

const STATUSES = [
  "under way",
  "running",
  "retrying",
  "queued",
  "succeeded",
  "dead",
  "cancelled",
  "skipped",
  "missed",
  "interrupted",
];

export function runsView() {
  const chosen = { text: "", status: "" };
  const count = h("span", { class: "muted", role: "status" });
  const search = h("input", {
    type: "search",
    placeholder: "Runs of a task  ( / )",
    "aria-label": "Runs of a task",
    on: {
      input: () => {
        chosen.text = search.value.toLowerCase();
        update();
      },
    },
  });
  const status = h(
    "select",
    {
      "aria-label": "Status",
      on: {
        change: () => {
          chosen.status = status.value;
          update();
        },
      },
    },
    h("option", { value: "" }, "Any status"),
    STATUSES.map((each) => h("option", { value: each }, each)),
  );
  const older = button("Load older", loadOlder);

  const list = new List({
    label: "Runs",
    key: (run) => run.execution_id,
    signature: (run) => `${run.status} ${run.attempt} ${fraction(run.progress)} ${run.duration_seconds} ${said(run)}`,
    columns: [
      {
        label: "Task",
        class: "c-main",
        cell: (run) => [h("strong", { class: "clip" }, run.task_id), h("span", { class: "muted clip" }, said(run))],
      },
      { label: "Status", class: "c-state", cell: (run) => [badge(run.status, kindOf(run.status)), bar(run)] },
      {
        label: "Started",
        class: "c-time",
        cell: (run) =>
          h(
            "span",
            { title: when(run.started_at ?? run.scheduled_for) },
            clockTime(run.started_at ?? run.scheduled_for),
          ),
      },
      { label: "Took", class: "c-num num", cell: (run) => span(run.duration_seconds) },
      {
        label: "Trigger",
        class: "c-trigger",
        cell: (run) => run.trigger + (run.attempt > 1 ? `, attempt ${run.attempt}` : ""),
      },
      {
        label: "",
        class: "c-actions",
        cell: (run) =>
          RUNNING.has(run.status) &&
          button("Cancel", () => cancel(run), {
            class: "small",
            "aria-label": `Cancel the run of ${run.task_id}`,
            data: { action: "cancel" },
          }),
      },
    ],
    onOpen: (run) => showRun(run.execution_id),
    onKey: (run, key) => {
      if (key !== "c" || !run || !RUNNING.has(run.status)) return false;
      cancel(run);
      return true;
    },
  });

  async function loadOlder() {
    older.disabled = true;
    const oldest = [...store.runs.values()].reduce(
      (least, run) => (run.scheduled_for < least ? run.scheduled_for : least),
      new Date().toISOString(),
    );
    try {
      await loadRuns({ until: oldest });
    } catch (error) {
      store.error = error;
    }
    older.disabled = false;
    changed();
  }

  function update() {
    const fits = (run) =>
      (!chosen.text || run.task_id.toLowerCase().includes(chosen.text)) &&
      (!chosen.status || (chosen.status === "under way" ? RUNNING.has(run.status) : run.status === chosen.status));
    const shown = [...store.runs.values()].filter(fits).sort((a, b) => startOf(b) - startOf(a));
    const busy = [...store.runs.values()].filter((run) => run.status === "running").length;
    count.textContent = `${many(shown.length, "run")}, ${busy} running`;
    list.show(
      shown,
      store.loaded
        ? notice(
            "No runs",
            store.runs.size ? "None is like that." : "Nothing has run yet. Start a task, or wait for its time.",
          )
        : notice("Loading the runs …"),
    );
  }

  const element = h(
    "section",
    { class: "view", "aria-label": "Runs" },
    h("div", { class: "tools" }, search, status, count, h("span", { class: "spacer" }), older),
    list.element,
  );
  return { element, update, destroy: () => list.destroy(), keys: { "/": () => search.focus() } };
}
