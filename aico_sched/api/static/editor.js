// Creating and changing a task, with the schedule explained while it is typed and errors beside their fields.

import { call, get, post, task } from "./api.js";
import { button, dialog, h, replace, toast } from "./dom.js";
import { json, when } from "./format.js";
import { changed, store } from "./store.js";

const CHOICES = {
  overlap: ["skip", "queue", "cancel_previous", "allow"],
  misfire: ["latest", "all", "skip"],
  delivery: ["at_least_once", "at_most_once"],
};
const HINTS = {
  task_id: "Its first part decides what it may do, such as user.backup",
  schedule: "Cron, @daily, interval:SECONDS or at:2026-12-31T08:00:00Z",
  task_class: "Empty: the class named like the task",
  timezone: "Empty: the service's",
  tags: "Separated by commas",
  timeout: "Seconds one attempt may take; empty: the default",
  priority: "0 to 100, higher first; empty: by namespace",
};
const LABELS = {
  task_id: "Task",
  schedule: "Schedule",
  task_class: "Class",
  timezone: "Time zone",
  config: "Configuration (JSON)",
  description: "Description",
  tags: "Tags",
  timeout: "Time limit",
  priority: "Priority",
  overlap: "While it still runs, a due slot",
  misfire: "After an outage, run",
  delivery: "Delivery",
};

export function editTask(found = null) {
  const { box, body, close } = dialog(found ? `Edit ${found.task_id}` : "New task", { sheet: true });
  const inputs = {};
  const errors = {};
  const explanation = h("div", { class: "explanation", "aria-live": "polite" });
  const before = { ...valuesOf(found) };

  function field(name, control) {
    const id = `field-${name}`;
    inputs[name] = control;
    errors[name] = h("p", { class: "field-error", id: `${id}-error` });
    Object.assign(control, { id, name });
    control.setAttribute("aria-describedby", `${id}-error`);
    return h(
      "div",
      { class: "field" },
      h("label", { for: id }, LABELS[name]),
      control,
      name === "schedule" && explanation,
      errors[name],
      HINTS[name] && h("p", { class: "field-hint" }, HINTS[name]),
    );
  }

  const text = (name, props = {}) =>
    field(name, h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: before[name], ...props }));
  const choice = (name) =>
    field(
      name,
      h(
        "select",
        { value: before[name] },
        CHOICES[name].map((each) =>
          h("option", { value: each, selected: each === before[name] }, each.replaceAll("_", " ")),
        ),
      ),
    );
  const options = (id, values) =>
    h(
      "datalist",
      { id },
      values.map((each) => h("option", { value: each })),
    );
  const failed = h("p", { class: "form-error", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, found ? "Save" : "Create");

  const form = h(
    "form",
    { novalidate: true, class: "form" },
    !found && text("task_id", { required: true, placeholder: "user.backup" }),
    text("schedule", { required: true, placeholder: "0 3 * * *", class: "mono" }),
    text("task_class", { list: "classes" }),
    options(
      "classes",
      store.classes.filter((each) => each.available).map((each) => each.name),
    ),
    field("config", h("textarea", { rows: 5, spellcheck: "false", class: "mono", value: before.config })),
    text("description"),
    text("tags"),
    h(
      "details",
      { class: "more" },
      h("summary", {}, "Options"),
      text("timezone", { list: "zones" }),
      options("zones", Intl.supportedValuesOf?.("timeZone") ?? []),
      text("timeout", { inputmode: "decimal" }),
      text("priority", { inputmode: "numeric" }),
      choice("overlap"),
      choice("misfire"),
      choice("delivery"),
    ),
    failed,
    h("p", { class: "actions" }, submit, button("Cancel", close)),
  );

  let asked = 0;
  async function explain() {
    const number = (asked += 1);
    const schedule = inputs.schedule.value.trim();
    if (!schedule) {
      replace(explanation);
      return;
    }
    try {
      const told = await get("/explain", { schedule, timezone: inputs.timezone.value.trim(), count: 3 });
      if (number !== asked) return;
      mark("schedule", "");
      replace(
        explanation,
        h("p", {}, told.description),
        told.next.length
          ? h(
              "ol",
              { class: "muted" },
              told.next.map((each) => h("li", {}, when(each))),
            )
          : h("p", { class: "muted" }, "It fires no more."),
        [...told.notes, ...told.warnings].map((each) => h("p", { class: "hint warn" }, each)),
      );
    } catch (error) {
      if (number !== asked) return;
      replace(explanation);
      const name = error.errors?.some((each) => each.field === "timezone") ? "timezone" : "schedule";
      mark(name, error.message);
    }
  }

  function mark(name, message) {
    errors[name].textContent = message;
    inputs[name].setAttribute("aria-invalid", message ? "true" : "false");
    if (message) inputs[name].closest("details")?.setAttribute("open", "");
  }

  async function save(event) {
    event.preventDefault();
    for (const name of Object.keys(inputs)) mark(name, "");
    failed.textContent = "";
    const wanted = payload();
    if (!wanted) return;
    submit.disabled = true;
    try {
      const view = found
        ? await call("PATCH", task(found.task_id), { ...wanted, revision: found.revision })
        : await post("/tasks", wanted);
      store.tasks.set(view.task_id, view);
      changed();
      close();
      toast(found ? `${view.task_id} was saved` : `${view.task_id} was created`);
    } catch (error) {
      const told = error.errors.filter((each) => each.field.split(".")[0] in inputs);
      for (const each of told) mark(each.field.split(".")[0], each.message);
      if (error.code === "task_exists" && inputs.task_id) {
        mark("task_id", error.message);
        told.push({ field: "task_id" });
      }
      if (told.length) inputs[told[0].field.split(".")[0]].focus();
      else failed.textContent = error.message;
    } finally {
      submit.disabled = false;
    }
  }

  // What is sent: of a new task what was filled in, of a known one what was changed (null resets).
  function payload() {
    const sent = {};
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.value.trim();
      if (value === before[name].trim() && (found || name in CHOICES || value === "")) continue;
      if (name === "config") {
        try {
          sent.config = JSON.parse(value || "{}");
        } catch (error) {
          mark("config", `This is no JSON: ${error.message}`);
          input.focus();
          return null;
        }
      } else if (name === "tags")
        sent.tags = value
          .split(",")
          .map((each) => each.trim())
          .filter(Boolean);
      else if (name === "timeout" || name === "priority") {
        const number = Number(value);
        if (Number.isNaN(number)) {
          mark(name, "This is no number");
          input.focus();
          return null;
        }
        sent[name] = value === "" ? null : number;
      } else sent[name] = value === "" && !["task_id", "schedule"].includes(name) ? null : value;
    }
    return sent;
  }

  let timer;
  for (const name of ["schedule", "timezone"])
    inputs[name].addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(explain, 200);
    });
  form.addEventListener("submit", save);
  body.append(form);
  box.addEventListener("close", () => {
    asked += 1;
  });
  (inputs.task_id ?? inputs.schedule).focus();
  if (found) explain();
}

function valuesOf(found) {
  const options = found?.options ?? {};
  return {
    task_id: "",
    schedule: found?.schedule ?? "",
    task_class: found?.task_class ?? "",
    timezone: options.timezone ?? "",
    config: found ? json(found.config) : "",
    description: options.description ?? "",
    tags: (options.tags ?? []).join(", "),
    timeout: String(options.timeout ?? ""),
    priority: String(options.priority ?? ""),
    overlap: options.overlap ?? "skip",
    misfire: options.misfire ?? "latest",
    delivery: options.delivery ?? "at_least_once",
  };
}
