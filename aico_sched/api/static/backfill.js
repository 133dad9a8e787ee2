// Running the times of a stretch of the past; the schedule and its next run stay as they are.

import { post, task } from "./api.js";
import { button, dialog, h, toast } from "./dom.js";
import { many } from "./format.js";
import { changed } from "./store.js";

const DAY_MS = 86400000;

// As an input for date and time wants it: in the zone of whoever looks, to the minute.
const typed = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16);

export function backfill(found) {
  const { body, close } = dialog(`Run past times of ${found.task_id}`);
  const inputs = {};
  const failed = h("p", { class: "form-error", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, "Run them");

  function time(name, label, at) {
    const id = `backfill-${name}`;
    inputs[name] = h("input", { type: "datetime-local", id, value: typed(at), required: true });
    return h("div", { class: "field" }, h("label", { for: id }, label), inputs[name]);
  }

  async function run(event) {
    event.preventDefault();
    failed.textContent = "";
    submit.disabled = true;
    try {
      const [start, end] = ["start", "end"].map((name) => new Date(inputs[name].value));
      if (Number.isNaN(+start) || Number.isNaN(+end)) throw new Error("Give both times");
      const overlap = inputs.allow.checked ? "allow" : "queue";
      const sent = { start: start.toISOString(), end: end.toISOString(), overlap };
      const { execution_ids: runs } = await post(`${task(found.task_id)}/backfill`, sent);
      changed();
      if (runs.length) {
        close();
        toast(`${many(runs.length, "run")} of ${found.task_id} queued`);
      } else failed.textContent = "Its schedule has no time there";
    } catch (error) {
      failed.textContent = error.message;
    } finally {
      submit.disabled = false;
    }
  }

  const now = Date.now();
  inputs.allow = h("input", { type: "checkbox" });
  body.append(
    h(
      "form",
      { novalidate: true, class: "form", on: { submit: run } },
      h("p", { class: "muted" }, "Each time of its schedule in this stretch runs, also one that has run already."),
      time("start", "From", now - DAY_MS),
      time("end", "To", now),
      h("label", {}, inputs.allow, " at once, instead of one after the other"),
      failed,
      h("p", { class: "actions" }, submit, button("Cancel", close)),
    ),
  );
  inputs.start.focus();
}
