// Creates a task over aico-sched's bus and prints the events of its runs, with nothing but ZeroMQ and msgpack.
//
//   npm install && node create-and-watch.js [DATA_DIR] [RUNS]
//
// DATA_DIR is the service's data folder; whoever can read the key in it is the admin. Ends after RUNS runs.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { decode, encode } from "@msgpack/msgpack";
import { Publisher, Subscriber } from "zeromq";

const folder = process.argv[2] ?? join(homedir(), ".local/share/aico/scheduler");
const runs = Number(process.argv[3] ?? 3);
const DEADLINE = 30_000; // milliseconds to wait for an answer

// Where the bus is, as the running service wrote it down.
const bus = JSON.parse(readFileSync(join(folder, "service.json"), "utf8"));

// A key file has a line `public-key = "…"`, a secret one also `secret-key = "…"`.
const field = (text, name) => new RegExp(`${name}\\s*=\\s*"([^"]+)"`).exec(text)[1];
const admin = readFileSync(join(folder, "keys/secrets/admin.key_secret"), "utf8");
const curve = {
  curveServerKey: bus.server_public_key,
  curvePublicKey: field(admin, "public-key"),
  curveSecretKey: field(admin, "secret-key"),
  linger: 0,
};

const publisher = new Publisher(curve);
const subscriber = new Subscriber(curve);
publisher.connect(bus.publish);
subscriber.connect(bus.subscribe);

const replyTo = `scheduler.reply.admin.${randomUUID()}`;
subscriber.subscribe(replyTo, "scheduler.event.execution.");

const topic = "scheduler.task.create";
const body = encode({
  message_id: randomUUID(),
  timestamp: new Date().toISOString(),
  source: "admin",
  message_type: topic,
  version: "1.0",
  attributes: { reply_to: replyTo },
  payload: {
    task_id: "user.from_node",
    schedule: "interval:1",
    task_class: "demo.echo",
    config: { hello: "from Node" },
    max_runs: runs,
  },
});

// A message that is sent before the connection stands is lost: say it again with the same id until it is answered.
// The service does it once.
const repeat = setInterval(() => publisher.send([topic, body]).catch(() => {}), 200);
const deadline = setTimeout(() => {
  console.error("no answer from the service");
  process.exit(3);
}, DEADLINE);

let answered = false;
let seen = 0;
for await (const [frame, message] of subscriber) {
  const name = frame.toString();
  const { payload, attributes } = decode(message);
  if (name === replyTo && !answered) {
    answered = true;
    clearInterval(repeat);
    if (!payload.ok) {
      console.error(`refused: ${payload.error.code}: ${payload.error.message}`);
      process.exit(1);
    }
    console.log(`created ${payload.result.task_id}, next run ${payload.result.next_run}`);
  } else if (payload.task_id === "user.from_node") {
    deadline.refresh();
    console.log(`${name.replace("scheduler.event.execution.", "")} #${attributes.seq} ${payload.execution_id}`);
    if (name.endsWith(".succeeded") && ++seen === runs) break;
  }
}
clearTimeout(deadline);
publisher.close();
subscriber.close();
