// Runs that failed for good and wait for somebody to decide.

import { discard, requeue } from "./actions.js";
import { attemptList, showRun } from "./details.js";
import { button, dialog, h, notice } from "./dom.js";
import { json, many, relative, when } from "./format.js";
import { List } from "./list.js";
import { store } from "./store.js";

export function deadView() {
  const count = h("span", { class: "muted", role: "status" });
  const lastError = (letter) => letter.attempts?.at(-1)?.error_message ?? letter.reason;

  const list = new List({
    label: "Dead letters",
    key: (letter) => letter.execution_id,
    signature: (letter) => `${letter.died_at} ${relative(letter.died_at)}`,
    columns: [
      {
        label: "Task",
        class: "c-main",
        cell: (letter) => [
          h("strong", { class: "clip" }, letter.task_id),
          h("span", { class: "error-text clip" }, lastError(letter)),
        ],
      },
      {
        label: "Attempts",
        class: "c-num num",
        cell: (letter) => String(letter.attempts?.length ?? letter.attempt_count ?? ""),
      },
      {
        label: "Died",
        class: "c-time",
        cell: (letter) => h("span", { title: when(letter.died_at) }, relative(letter.died_at)),
      },
      {
        label: "",
        class: "c-actions wide",
        cell: (letter) => [
          button("Requeue", () => requeue(letter), {
            class: "small",
            "aria-label": `Requeue the run of ${letter.task_id}`,
            data: { action: "requeue" },
          }),
          button("Discard", () => discard(letter), {
            class: "small",
            "aria-label": `Discard the run of ${letter.task_id}`,
            data: { action: "discard" },
          }),
        ],
      },
    ],
    onOpen: open,
    onKey: (letter, key) => {
      const keys = { q: () => requeue(letter), d: () => discard(letter) };
      if (!letter || !keys[key]) return false;
      keys[key]();
      return true;
    },
  });

  function open(letter) {
    const { body, close } = dialog(`Dead letter of ${letter.task_id}`, { sheet: true });
    body.append(
      h(
        "div",
        { class: "actions" },
        button(
          "Requeue",
          () => {
            close();
            requeue(letter);
          },
          { class: "primary" },
        ),
        button(
          "Discard",
          async () => {
            close();
            await discard(letter);
          },
          { class: "danger" },
        ),
        button("Show the run", () => showRun(letter.execution_id)),
      ),
      h("p", {}, letter.reason),
      h("p", { class: "muted" }, `Died ${when(letter.died_at)}`),
      h("h3", {}, "Attempts"),
      attemptList(letter.attempts),
      h("h3", {}, "Configuration then"),
      h("pre", {}, json(letter.config)),
    );
  }

  function update() {
    count.textContent = store.deadMore
      ? `The newest ${store.dead.length} dead letters`
      : many(store.dead.length, "dead letter");
    list.show(
      store.dead,
      store.loaded
        ? notice("No dead letters", "Every run has succeeded, or will be tried again.")
        : notice("Loading …"),
    );
  }

  return {
    element: h(
      "section",
      { class: "view", "aria-label": "Dead letters" },
      h("div", { class: "tools" }, count),
      list.element,
    ),
    update,
    destroy: () => list.destroy(),
    keys: {},
  };
}
