// Writes src/messages.ts from spec/wire.schema.json and src/errorCodes.ts from spec/errors.json, or with --check says
// whether they are up to date.
//
// It knows the part of JSON Schema that the spec uses, and stops at anything else.

import { existsSync, readFileSync, writeFileSync } from "node:fs";

const read = (path) => JSON.parse(readFileSync(new URL(`../../../spec/${path}`, import.meta.url), "utf8"));

/** Of clients/biome.json, and the end of the line. */
const LINE_WIDTH = 121;

/** Close codes that say nothing of the client: an error with one of these leaves it connected. */
const NOT_CLOSING = new Set([1009, 1011]);

function head(about, source) {
  return `// ${about} Generated from spec/${source} by scripts/generate-types.mjs; do not edit.\n`;
}

// --- types -----------------------------------------------------------------------------------------------------------

const isUnion = (schema) => schema.properties === undefined;
const isMessage = (schema) => schema.properties?.timestamp !== undefined;
const isRequest = (schema) => !isMessage(schema) && schema.properties?.type !== undefined;

/** The name of a definition in TypeScript. `Error` and `Notification` are names of browsers, so data says that it is data. */
function nameOf(name, schema) {
  const isData = !(isUnion(schema) || isMessage(schema) || isRequest(schema) || name === "Positioned");
  return isData ? `${name}Data` : name;
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
    case "boolean":
      return schema.type;
    case "array":
      return `readonly ${arrayItem(typeOf(schema.items, definitions))}[]`;
    case "object":
      return `{ readonly [name: string]: ${typeOf(schema.additionalProperties, definitions)} }`;
    case "integer":
    case "number":
      return "number";
    case undefined:
      return "unknown";
    default:
      throw new Error(
        `spec/wire.schema.json: got a type ${schema.type}; allowed: what scripts/generate-types.mjs knows`,
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

function fieldOf(name, schema, isAlways, definitions) {
  return `  readonly ${name}${isAlways ? "" : "?"}: ${typeOf(schema, definitions)};\n`;
}

/** A type with another name, on lines that the formatter leaves as they are. */
function aliasOf(name, type) {
  const line = `export type ${name} = ${type};\n`;
  return line.length <= LINE_WIDTH ? line : `export type ${name} =\n  | ${type.split(" | ").join("\n  | ")};\n`;
}

function declarationOf(name, schema, definitions) {
  const about = schema.description === undefined ? "" : comment(schema.description);
  if (isUnion(schema)) return about + aliasOf(name, typeOf(schema, definitions));
  const fields = Object.entries(schema.properties).map(([field, each]) => {
    // Servers that follow the guide send no id.
    const isAlways = schema.required.includes(field) && !(isMessage(schema) && field === "id");
    return fieldOf(field, each, isAlways, definitions);
  });
  if (fields.length === 0) return `${about}export type ${nameOf(name, schema)} = { readonly [name: string]: never };\n`;
  const bases = (schema.allOf ?? []).map((each) => typeOf(each, definitions));
  const base = bases.length > 0 ? ` extends ${bases.join(", ")}` : "";
  return `${about}export interface ${nameOf(name, schema)}${base} {\n${fields.join("")}}\n`;
}

/** An interface with a field for each type on the wire, of those definitions that have one type. */
function byType(name, about, definitions, isWanted) {
  const fields = Object.entries(definitions)
    .filter(([, each]) => isWanted(each) && each.properties.type.enum?.length === 1)
    .map(([each, schema]) => `  ${schema.properties.type.enum[0]}: ${each};\n`);
  return `${comment(about)}export interface ${name} {\n${fields.join("")}}\n`;
}

/** One declaration for each definition, and which type has which message. */
function generateTypes({ $defs: definitions }) {
  const declarations = Object.entries(definitions).map(([name, each]) => declarationOf(name, each, definitions));
  const isInStream = (each) => isMessage(each) && each.allOf !== undefined;
  return [
    head("Every message on the wire.", "wire.schema.json"),
    ...declarations,
    byType("MessageTypes", "The messages that listeners get, by type.", definitions, isInStream),
    byType("ServerMessages", "The messages that a server sends, by type.", definitions, isMessage),
    byType("Requests", "The messages that a client sends, by type.", definitions, isRequest),
  ].join("\n");
}

// --- errors ----------------------------------------------------------------------------------------------------------

function generateErrorCodes(errors) {
  const codes = errors
    .filter((each) => !NOT_CLOSING.has(each.close_code))
    .map((each) => `  ${each.code}: ${each.close_code},\n`);
  const about = comment("The close code that an `error` stands for where the server cannot close with it, as on AWS.");
  const table = `export const CLOSE_CODE_OF_ERROR: { readonly [code: string]: number } = {\n${codes.join("")}};\n`;
  const again = errors.filter(({ retryable }) => retryable).map(({ code }) => `  ${JSON.stringify(code)},\n`);
  const list = `/** The errors after which the same request may succeed. */\nexport const RETRYABLE: readonly string[] = [\n${again.join("")}];\n`;
  return `${head("The errors that end a connection, or allow another try.", "errors.json")}\n${about}${table}\n${list}`;
}

const FILES = [
  ["messages.ts", generateTypes(read("wire.schema.json"))],
  ["errorCodes.ts", generateErrorCodes(read("errors.json"))],
];

for (const [name, wanted] of FILES) {
  const file = new URL(`../src/${name}`, import.meta.url);
  if (!process.argv.includes("--check")) {
    writeFileSync(file, wanted);
  } else if (!existsSync(file) || readFileSync(file, "utf8") !== wanted) {
    console.error(`clients/core/src/${name} differs from spec/; run: make spec`);
    process.exitCode = 1;
  }
}
