// Writes src/messages.ts from spec/messages.schema.json, or with --check says whether it is up to date.
//
// It knows the part of JSON Schema that the spec uses, and stops at anything else.

import { readFileSync, writeFileSync } from "node:fs";

const SCHEMA = new URL("../../../spec/messages.schema.json", import.meta.url);
const TYPES = new URL("../src/messages.ts", import.meta.url);

const HEAD = `// The messages a server sends. Made from spec/messages.schema.json by scripts/generate-types.mjs; do not edit.

/** Where a message is in its user's stream. One to a connection or to everybody has no place there. */
export interface Placed {
  /** On the log: its epoch, a colon, and its offset. */
  readonly cursor?: string;
  /** On a state: what it is of. */
  readonly key?: string;
  /** On a state: the higher one is the newer one of its key. */
  readonly version?: number;
}

/** The user has seen everything up to a cursor, on some device. */
export interface SeenMessage extends Placed {
  readonly data: { readonly cursor: string };
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "seen";
}
`;

function isMessage(schema) {
  return schema.properties.timestamp !== undefined;
}

/** The name of a definition in TypeScript. `Error` and `Notification` are names of browsers, so data says that it is data. */
function nameOf(name, schema) {
  return isMessage(schema) ? name : `${name}Data`;
}

function typeOf(schema, definitions) {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace("#/$defs/", "");
    return nameOf(name, definitions[name]);
  }
  if (schema.anyOf !== undefined) {
    return [...new Set(schema.anyOf.map((each) => typeOf(each, definitions)))].join(" | ");
  }
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  switch (schema.type) {
    case "string":
    case "null":
      return schema.type;
    case "boolean":
      return schema.type;
    case "array":
      return `readonly ${arrayItem(typeOf(schema.items, definitions))}[]`;
    case "integer":
    case "number":
      return "number";
    case undefined:
      return "unknown";
    default:
      throw new Error(
        `spec/messages.schema.json: got a type ${schema.type}; allowed: what scripts/generate-types.mjs knows`,
      );
  }
}

function arrayItem(type) {
  return type.includes(" ") ? `(${type})` : type;
}

function comment(text, indent = "") {
  const lines = text.split("\n").map((line) => line.trim());
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

function fieldOf(name, schema, isRequired, definitions) {
  // Servers that follow the guide send no id.
  const always = isRequired && name !== "id";
  return `  readonly ${name}${always ? "" : "?"}: ${typeOf(schema, definitions)};\n`;
}

function interfaceOf(name, schema, definitions) {
  const fields = Object.entries(schema.properties)
    .map(([field, each]) => fieldOf(field, each, schema.required.includes(field), definitions))
    .join("");
  const about = schema.description === undefined ? "" : comment(schema.description);
  const base = isMessage(schema) ? " extends Placed" : "";
  return `${about}export interface ${nameOf(name, schema)}${base} {\n${fields}}\n`;
}

/** One interface a definition, and `MessageTypes`: which type has which message. */
function generate({ $defs: definitions }) {
  const interfaces = Object.entries(definitions).map(([name, each]) => interfaceOf(name, each, definitions));
  const known = Object.entries(definitions)
    .filter(([, each]) => isMessage(each) && each.properties.type.enum?.length === 1)
    .map(([name, each]) => `  ${each.properties.type.enum[0]}: ${name};\n`);
  const about = comment("Which type of the specification has which message.");
  return [
    HEAD,
    ...interfaces,
    `${about}export interface MessageTypes {\n${known.join("")}  seen: SeenMessage;\n}\n`,
  ].join("\n");
}

const wanted = generate(JSON.parse(readFileSync(SCHEMA, "utf8")));
if (!process.argv.includes("--check")) {
  writeFileSync(TYPES, wanted);
} else if (readFileSync(TYPES, "utf8") !== wanted) {
  console.error("clients/core/src/messages.ts is not what spec/messages.schema.json says; run: make spec");
  process.exitCode = 1;
}
