// Times and values as people read them. Times are shown in the zone of whoever looks.

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const RUNNING = new Set(["queued", "running", "retrying"]);

const KINDS = {
  succeeded: "good",
  running: "busy",
  queued: "wait",
  retrying: "wait",
  dead: "bad",
  cancelled: "off",
  skipped: "off",
  missed: "warn",
  interrupted: "warn",
  active: "good",
  paused: "wait",
  disabled: "off",
  unavailable: "bad",
  finished: "off",
  healthy: "good",
  degraded: "warn",
  critical: "bad",
};

export const kindOf = (status) => KINDS[status] ?? "off";

export const when = (text) => (text ? full.format(new Date(text)) : "never");

export function clockTime(text) {
  const at = new Date(text);
  const shown = clock.format(at);
  return at.toDateString() === new Date().toDateString() ? shown : `${day.format(at)}, ${shown}`;
}

const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const shortTime = (at) => short.format(at);

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// Coarse, so that a row that says it changes seldom.
function coarse(seconds) {
  if (seconds < 5) return "moments";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function relative(text) {
  if (!text) return "–";
  const seconds = (new Date(text) - Date.now()) / 1000;
  if (seconds >= 0) return seconds < 1 ? "now" : `in ${coarse(seconds)}`;
  return seconds > -5 ? "just now" : `${coarse(-seconds)} ago`;
}

export const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// What a run has to say for itself, the most telling first.
export const said = (run) =>
  run.error_message ?? run.reason ?? (RUNNING.has(run.status) ? run.progress?.message : run.result?.message) ?? "";

export const json = (value) => JSON.stringify(value, null, 2);

export function fraction(progress) {
  const given = progress && typeof progress === "object" ? progress.fraction : progress;
  return typeof given === "number" && given >= 0 && given <= 1 ? given : null;
}
