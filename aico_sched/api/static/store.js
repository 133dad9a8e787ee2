// What the page knows: tasks, runs, dead letters, health. Loaded once, then kept up to date by events.

import { follow, get, task as taskPath } from "./api.js";
import { RUNNING } from "./format.js";

const PAGE = 1000;
const MOST_RUNS = 5000;
const SAMPLES_MS = 3_600_000;
const LINES = 100;
const MOST_LOGGING = 200;

export const store = {
  tasks: new Map(),
  runs: new Map(),
  lines: new Map(),
  dead: [],
  health: null,
  stats: null,
  samples: [],
  classes: [],
  loaded: false,
  error: null,
  connection: { state: "connecting", seconds: 0 },
  heard: 0,
  expires: 0,
  deadMore: false,
};

const listeners = new Set();
let scheduled = false;

export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// However many events come, the page is drawn at most ten times a second.
export function changed() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(
    () =>
      requestAnimationFrame(() => {
        scheduled = false;
        for (const listener of [...listeners]) listener();
      }),
    100,
  );
}

export async function loadTasks() {
  const found = new Map();
  let cursor;
  do {
    const page = await get("/tasks", { limit: PAGE, cursor });
    for (const each of page.tasks) found.set(each.task_id, each);
    cursor = page.next_cursor;
  } while (cursor);
  store.tasks = found;
}

export async function loadRuns(query = {}, pages = 1) {
  let cursor = query.cursor;
  for (let n = 0; n < pages; n += 1) {
    const page = await get("/executions", { limit: 500, ...query, cursor });
    for (const each of page.executions) store.runs.set(each.execution_id, each);
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  forget();
  return cursor;
}

export async function loadDead() {
  const page = await get("/dead-letters", { limit: 200 });
  store.dead = page.dead;
  store.deadMore = page.next_cursor !== null;
}

export async function loadAll() {
  try {
    await Promise.all([
      loadTasks(),
      loadRuns(),
      loadDead(),
      loadSamples().then(sample),
      get("/registry").then((found) => {
        store.classes = found.classes;
      }),
    ]);
    store.error = null;
  } catch (error) {
    store.error = error;
  }
  store.loaded = true;
  changed();
}

// Load and throughput of the last hour: what the service has of it, then what the page sees itself.
async function loadSamples() {
  const { samples } = await get("/stats/history");
  store.samples = samples.map((each) => ({
    at: Date.parse(each.at),
    cpu: each.cpu_percent,
    memory: each.memory_percent,
    lag: each.loop_lag_ms,
    running: each.running,
    waiting: each.due,
    rate: each.ended_per_second,
  }));
}

export async function sample() {
  const [stats, health] = await Promise.all([get("/stats"), get("/status")]);
  const ended = stats.executions.ended ?? 0;
  const before = store.samples.at(-1);
  const now = Date.now();
  const passed = before?.ended !== undefined ? (now - before.at) / 1000 : 0;
  store.samples.push({
    at: now,
    ended,
    cpu: stats.host.cpu_percent ?? 0,
    memory: stats.host.memory_percent ?? 0,
    lag: (stats.host.loop_lag ?? 0) * 1000,
    running: stats.executions.running ?? 0,
    waiting: stats.actors.scheduler?.ready ?? 0,
    rate: passed > 0 ? Math.max(0, ended - before.ended) / passed : (before?.rate ?? 0),
  });
  while (store.samples[0].at < now - SAMPLES_MS) store.samples.shift();
  Object.assign(store, { stats, health });
  changed();
}

function forget() {
  if (store.runs.size <= MOST_RUNS) return;
  const over = [...store.runs.values()]
    .filter((run) => !RUNNING.has(run.status))
    .sort((a, b) => startOf(a) - startOf(b));
  for (const run of over.slice(0, store.runs.size - MOST_RUNS)) store.runs.delete(run.execution_id);
}

export const startOf = (run) => Date.parse(run.started_at ?? run.scheduled_for);

const ENDS = {
  started: "running",
  progress: "running",
  retrying: "retrying",
  deferred: "queued",
  succeeded: "succeeded",
  dead: "dead",
  cancelled: "cancelled",
  skipped: "skipped",
  missed: "missed",
  interrupted: "interrupted",
};

function takeRun(name, event) {
  const known = store.runs.get(event.execution_id) ?? {
    execution_id: event.execution_id,
    task_id: event.task_id,
    trigger: event.trigger,
    scheduled_for: event.scheduled_for,
    status: "running",
    retry_count: 0,
    result: null,
    reason: null,
    error_message: null,
    progress: null,
  };
  const status = ENDS[name] ?? known.status;
  const given = Object.fromEntries(
    Object.entries(event).filter(
      ([key, value]) => value !== null && !["at", "count", "retry_at", "error_type"].includes(key),
    ),
  );
  store.runs.set(event.execution_id, {
    ...known,
    ...given,
    status,
    run_at: event.retry_at ?? null,
    missed_count: event.count ?? null,
  });
  forget();
}

// What runs log while they go on, as an answer of the API has it. A run that is over has its lines in its attempts.
function takeLines({ execution_id: id, attempt, lines, total }) {
  const known = store.lines.get(id);
  const before = known?.attempt === attempt ? known : { lines: [], total: 0 };
  const fresh = total > before.total ? lines.slice(-(total - before.total)) : [];
  store.lines.delete(id);
  store.lines.set(id, { attempt, total: Math.max(total, before.total), lines: [...before.lines, ...fresh].slice(-LINES) });
  if (store.lines.size > MOST_LOGGING) store.lines.delete(store.lines.keys().next().value);
}

const dirty = new Set();

async function refresh() {
  const ids = [...dirty];
  dirty.clear();
  try {
    if (ids.length > 20) await loadTasks();
    else
      await Promise.all(
        ids.map(async (id) => {
          try {
            store.tasks.set(id, await get(taskPath(id)));
          } catch (error) {
            if (error.code === "task_not_found") store.tasks.delete(id);
            else throw error;
          }
        }),
      );
  } catch (error) {
    store.error = error;
  }
  changed();
}

function touch(id) {
  if (dirty.size === 0) setTimeout(refresh, 300);
  dirty.add(id);
}

function take(name, row) {
  const [family, kind] = name.split(".");
  if (family === "hello") {
    if (store.loaded && !row.resumed) loadAll();
  } else if (family === "lost") loadAll();
  else if (family === "availability") {
    store.heard = Date.now();
    store.expires = row.payload.expires_in * 1000;
  } else if (name === "execution.logged") takeLines(row.payload);
  else if (family === "execution") {
    takeRun(kind, row.payload);
    if (kind !== "progress") store.lines.delete(row.payload.execution_id);
    if (kind !== "progress") touch(row.payload.task_id);
    if (kind === "dead") loadDead().then(changed, () => {});
  } else if (family === "task") {
    if (kind === "deleted") store.tasks.delete(row.payload.task_id);
    else touch(row.payload.task_id);
  }
  changed();
}

export function live() {
  return follow(take, (state, seconds = 0) => {
    store.connection = { state, seconds };
    changed();
  });
}

// The stream may be live while the service behind it is gone: then its heartbeat is missing.
export function connection() {
  const { state, seconds } = store.connection;
  if (state === "waiting") return { kind: "warn", text: `Reconnecting in ${seconds} s` };
  if (state === "refused") return { kind: "bad", text: "Signed out" };
  if (state !== "live") return { kind: "wait", text: "Connecting" };
  if (store.heard && Date.now() - store.heard > store.expires)
    return { kind: "bad", text: "The scheduler does not answer" };
  return { kind: "good", text: "Live" };
}
