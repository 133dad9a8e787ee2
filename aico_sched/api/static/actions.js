// What can be done to a task or a run; each says how it went.

import { call, dead, execution, post, task } from "./api.js";
import { ask, toast } from "./dom.js";
import { changed, loadDead, store } from "./store.js";

export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(typeof done === "function" ? done(result) : done);
    changed();
    return result;
  } catch (error) {
    toast(error.message, "bad");
    return null;
  }
}

async function change(found, verb, done) {
  const view = await attempt(() => post(`${task(found.task_id)}/${verb}`), done);
  if (view?.task_id && view.schedule) store.tasks.set(view.task_id, view);
  changed();
}

export const trigger = (found) => change(found, "trigger", `${found.task_id} was started`);
export const hold = (found) =>
  found.state === "paused"
    ? change(found, "resume", `${found.task_id} goes on`)
    : change(found, "pause", `${found.task_id} is paused`);
export const toggle = (found) =>
  found.enabled
    ? change(found, "disable", `${found.task_id} is switched off`)
    : change(found, "enable", `${found.task_id} is switched on`);

export async function remove(found) {
  if (!(await ask("Delete the task?", `${found.task_id} will not run any more. Its history stays.`, "Delete")))
    return false;
  const gone = await attempt(() => call("DELETE", task(found.task_id)), `${found.task_id} was deleted`);
  if (gone) store.tasks.delete(found.task_id);
  changed();
  return gone !== null;
}

export const cancel = (run) =>
  attempt(
    () => post(`${execution(run.execution_id)}/cancel`, { reason: "cancelled in the dashboard" }),
    `${run.task_id} is being cancelled`,
  );

export async function requeue(letter) {
  await attempt(() => post(`${dead(letter.execution_id)}/requeue`), `${letter.task_id} runs again`);
  await attempt(loadDead);
}

export async function discard(letter) {
  if (
    !(await ask(
      "Discard the dead letter?",
      `The failed run of ${letter.task_id} will no longer wait for you. Its history stays.`,
      "Discard",
    ))
  )
    return;
  await attempt(() => post(`${dead(letter.execution_id)}/discard`), "Discarded");
  await attempt(loadDead);
}
