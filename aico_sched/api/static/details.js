// One task, or one run, with all there is to know.

import { cancel, hold, remove, toggle, trigger } from "./actions.js";
import { execution, get, task } from "./api.js";
import { backfill } from "./backfill.js";
import { badge, button, dialog, h, notice, replace } from "./dom.js";
import { editTask } from "./editor.js";
import { clockTime, fraction, json, kindOf, relative, RUNNING, said, span, when } from "./format.js";
import { onChange, store } from "./store.js";

const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value ?? "–")];

export function bar(run) {
  const done = fraction(run.progress);
  if (run.status !== "running" || done === null) return null;
  const meter = h(
    "span",
    {
      class: "meter",
      role: "progressbar",
      "aria-valuenow": Math.round(done * 100),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-label": "Progress",
    },
    h("span", { style: { width: `${done * 100}%` } }),
  );
  return meter;
}

export function runLine(run, open) {
  return h(
    "li",
    {},
    button(
      [
        badge(run.status, kindOf(run.status)),
        h("span", { class: "grow clip" }, said(run)),
        h("span", { class: "muted" }, clockTime(run.started_at ?? run.scheduled_for)),
        h("span", { class: "muted num" }, span(run.duration_seconds)),
      ],
      () => open(run),
      { class: "line" },
    ),
  );
}

export function showTask(id) {
  const { body, close } = dialog(id, { sheet: true, onClose: () => stop() });
  const stop = onChange(draw);
  let runs = [];
  let explained = null;
  let drawn = "";

  async function load() {
    try {
      const found = await get(`${task(id)}/status`, { history: 20 });
      store.tasks.set(id, found.task);
      runs = found.executions;
      explained = await get("/explain", { schedule: found.task.schedule, timezone: found.task.timezone, count: 3 });
      draw();
    } catch (error) {
      replace(body, notice("It cannot be shown", error.message, button("Try again", load)));
    }
  }

  function draw() {
    const found = store.tasks.get(id);
    if (!found) {
      replace(body, notice("This task is gone", "Somebody has deleted it."));
      return;
    }
    const recent = [
      ...new Map(
        [...runs, ...[...store.runs.values()].filter((run) => run.task_id === id)].map((run) => [
          run.execution_id,
          store.runs.get(run.execution_id) ?? run,
        ]),
      ).values(),
    ]
      .sort((a, b) => (b.started_at ?? b.scheduled_for).localeCompare(a.started_at ?? a.scheduled_for))
      .slice(0, 20);
    const now = JSON.stringify([found, recent, explained, relative(found.next_run)]);
    if (now === drawn) return;
    drawn = now;
    const focus = body.contains(document.activeElement) ? document.activeElement.textContent : null;
    replace(
      body,
      h(
        "div",
        { class: "actions" },
        button("Run now", () => trigger(found), { class: "primary" }),
        button("Run past times", () => backfill(found)),
        button("Edit", () => editTask(found)),
        ["active", "paused"].includes(found.state) &&
          button(found.state === "paused" ? "Resume" : "Pause", () => hold(found)),
        button(found.enabled ? "Disable" : "Enable", () => toggle(found)),
        !found.protected &&
          button(
            "Delete",
            async () => {
              if (await remove(found)) close();
            },
            { class: "danger" },
          ),
      ),
      found.warnings.map((each) => h("p", { class: "hint warn" }, each)),
      h(
        "dl",
        {},
        fact("State", [
          badge(found.state, kindOf(found.state)),
          found.note && h("span", { class: "muted" }, ` ${found.note}`),
        ]),
        fact("Schedule", [h("code", {}, found.schedule), h("span", { class: "muted" }, ` ${found.timezone}`)]),
        explained && fact("In words", explained.description),
        fact("Next", found.next_run ? `${relative(found.next_run)} · ${when(found.next_run)}` : "not scheduled"),
        fact("Last", found.last_run ? `${relative(found.last_run)} · ${when(found.last_run)}` : "never"),
        fact("Class", h("code", {}, found.task_class)),
        fact("Scheduled runs", String(found.run_count)),
        fact("Made by", `${found.created_by}, ${when(found.created_at)}`),
      ),
      h("h3", {}, "Newest runs"),
      recent.length
        ? h(
            "ul",
            { class: "lines" },
            recent.map((run) => runLine(run, (one) => showRun(one.execution_id))),
          )
        : h("p", { class: "muted" }, "It has not run yet."),
      h("h3", {}, "Configuration"),
      h("pre", {}, json(found.config)),
      Object.keys(found.options).length > 0 && [h("h3", {}, "Options"), h("pre", {}, json(found.options))],
    );
    if (focus) [...body.querySelectorAll("button")].find((each) => each.textContent === focus)?.focus();
  }

  replace(body, notice("Loading …"));
  if (store.tasks.has(id)) draw();
  load();
}

function attemptBlock(each) {
  return h(
    "details",
    { open: Boolean(each.error_message) },
    h(
      "summary",
      {},
      badge(each.outcome, each.outcome === "succeeded" ? "good" : "bad"),
      ` Attempt ${each.attempt} · ${clockTime(each.started_at)} · ${span((new Date(each.completed_at) - new Date(each.started_at)) / 1000)}`,
    ),
    each.error_message &&
      h("p", { class: "error-text" }, each.error_type ? `${each.error_type}: ` : "", each.error_message),
    each.traceback && h("pre", {}, each.traceback),
    each.logs && h("pre", { class: "logs" }, logText(each.logs)),
  );
}

const logText = ({ lines, dropped }) =>
  [
    ...(dropped ? [`… ${dropped} earlier lines are not kept`] : []),
    ...lines.map((line) => {
      const fields = Object.entries(line.fields).map(([name, value]) => `${name}=${value}`);
      return [clockTime(line.at), line.level.padEnd(8), line.message, ...fields].join(" ");
    }),
  ].join("\n");

// What a run that goes on has logged: what was there when it was asked for, and what has come since.
function linesOf(run) {
  const asked = run.logs ? { total: run.logs.dropped + run.logs.lines.length, lines: run.logs.lines } : { total: 0, lines: [] };
  const live = store.lines.get(run.execution_id);
  const more = live?.attempt === run.attempt && live.total > asked.total ? live.lines.slice(-(live.total - asked.total)) : [];
  const lines = [...asked.lines, ...more].slice(-100);
  return { lines, dropped: Math.max(asked.total, more.length ? live.total : 0) - lines.length };
}

const used = (usage) =>
  [
    usage.environment,
    usage.cpu_seconds !== undefined && `${span(usage.cpu_seconds)} of processor time`,
    usage.steps !== undefined && `${usage.steps} steps`,
    usage.longest_step_seconds !== undefined && `longest ${span(usage.longest_step_seconds)}`,
    usage.memory_mb !== undefined && `${Math.round(usage.memory_mb)} MB`,
    usage.sandbox && `sandbox ${usage.sandbox}`,
    usage.abandoned && "left to itself",
  ]
    .filter(Boolean)
    .join(" · ");

export const attemptList = (attempts) => h("div", { class: "attempts" }, (attempts ?? []).map(attemptBlock));

export function showRun(id) {
  const { body, heading } = dialog("Run", { sheet: true, onClose: () => stop() });
  let whole = null;
  let status = null;
  let drawn = "";
  const stop = onChange(() => {
    const now = store.runs.get(id)?.status;
    if (now && now !== status) {
      status = now;
      load();
    } else draw();
  });

  async function load() {
    try {
      whole = await get(execution(id));
      status = whole.status;
      store.runs.set(id, whole);
      draw();
    } catch (error) {
      replace(body, notice("It cannot be shown", error.message, button("Try again", load)));
    }
  }

  function draw() {
    if (!whole) return;
    const run = { ...whole, progress: store.runs.get(id)?.progress ?? whole.progress };
    const logs = run.status === "running" ? linesOf(run) : { lines: [], dropped: 0 };
    const now = JSON.stringify([run, logs]);
    if (now === drawn) return;
    drawn = now;
    heading.textContent = `Run of ${run.task_id}`;
    replace(
      body,
      h(
        "div",
        { class: "actions" },
        RUNNING.has(run.status) && button("Cancel", () => cancel(run), { class: "danger" }),
        store.tasks.has(run.task_id) && button("Show the task", () => showTask(run.task_id)),
      ),
      h(
        "dl",
        {},
        fact("Status", [badge(run.status, kindOf(run.status)), bar(run)]),
        run.progress?.message && fact("Progress", run.progress.message),
        run.reason && fact("Reason", run.reason),
        run.error_message && fact("Error", h("span", { class: "error-text" }, run.error_message)),
        fact("Trigger", run.trigger),
        fact("Due", when(run.scheduled_for)),
        fact("Started", run.started_at && when(run.started_at)),
        fact("Ended", run.completed_at && `${when(run.completed_at)} · ${span(run.duration_seconds)}`),
        run.run_at && RUNNING.has(run.status) && fact("Tries again", `${relative(run.run_at)} · ${when(run.run_at)}`),
        run.missed_count && fact("Stands for", `${run.missed_count} slots`),
        run.usage && fact("Used", used(run.usage)),
        fact("Id", h("code", {}, run.execution_id)),
      ),
      run.result !== null && [h("h3", {}, "Result"), h("pre", {}, json(run.result))],
      logs.lines.length > 0 && [h("h3", {}, "Log so far"), h("pre", { class: "logs", "aria-live": "polite" }, logText(logs))],
      run.attempts?.length > 0 && [h("h3", {}, "Attempts"), attemptList(run.attempts)],
    );
  }

  replace(body, notice("Loading …"));
  load();
}
