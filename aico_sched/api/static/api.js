// The API: requests with the token, and the stream of events. The token stays in this tab.

const base = document.querySelector("meta[name=api]").content;
const KEY = "aico-sched-token";
const SILENCE_MS = 40_000;
const LONGEST_PAUSE_MS = 30_000;

export class Problem extends Error {
  constructor(problem) {
    super(problem.detail);
    this.code = problem.code;
    this.status = problem.status;
    this.errors = problem.errors ?? [];
  }
}

// `#token=…` is how the command line hands it over: a fragment is sent to nobody. It does not stay in the address.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);
export const dropToken = () => sessionStorage.removeItem(KEY);

let refused = () => {};
export const onRefused = (handler) => {
  refused = handler;
};

function request(path, options) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}`, ...options.headers };
  return fetch(base + path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
}

export async function call(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await request(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
  } catch {
    throw new Problem({
      code: "unreachable",
      status: 0,
      detail: "The API does not answer. Is `aico-sched web` still running?",
    });
  }
  if (answer.status === 401) refused();
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok && !(answer.status === 503 && content.checks)) {
    throw new Problem({
      status: answer.status,
      code: "internal",
      detail: `The API answered ${answer.status}.`,
      ...content,
    });
  }
  return content;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return call("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path);
};
export const post = (path, body) => call("POST", path, body);
export const task = (id) => `/tasks/${encodeURIComponent(id)}`;
export const execution = (id) => `/executions/${encodeURIComponent(id)}`;
export const dead = (id) => `/dead-letters/${encodeURIComponent(id)}`;

// Follows the events until `stop` is called; resumes by id after a break. `state` is told live, waiting (with the
// seconds until the next try) or refused.
export function follow(onEvent, onState) {
  let last = null;
  let tries = 0;
  let stopped = false;
  let abort = new AbortController();

  async function once() {
    abort = new AbortController();
    let silence = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const answer = await request("/events/stream", {
        signal: abort.signal,
        headers: last ? { "Last-Event-ID": last } : {},
      });
      if (answer.status === 401) {
        stopped = true;
        onState("refused");
        refused();
        return;
      }
      if (answer.status === 422) last = null;
      if (!answer.ok) return;
      tries = 0;
      onState("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(() => abort.abort(), SILENCE_MS);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop();
        for (const frame of frames) take(frame);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  function take(frame) {
    const fields = new Map(
      frame.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
    );
    if (!fields.has("event")) return;
    if (fields.has("id")) last = fields.get("id");
    onEvent(fields.get("event"), JSON.parse(fields.get("data")));
  }

  async function run() {
    while (!stopped) {
      try {
        await once();
      } catch {
        /* The connection broke: what follows is the next try. */
      }
      if (stopped) return;
      const pause = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** tries) * (0.75 + Math.random() / 2);
      tries += 1;
      onState("waiting", Math.ceil(pause / 1000));
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  run();
  return () => {
    stopped = true;
    abort.abort();
  };
}
