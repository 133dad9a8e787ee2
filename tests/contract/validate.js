// Reads an AsyncAPI document with the official parser: `node validate.js FILE`. Prints its findings as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const findings = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path }));
const channels = document ? document.channels().all().map((channel) => channel.address()) : null;
process.stdout.write(JSON.stringify({ channels, findings }));
