// Handlers by name: `path/to/module.name`, where the name may be nested, as `app.api.handler`.
//
// The module is path/to/module without an ending, then .js, .mjs, .cjs, then a package of that name.

"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");
const { pathToFileURL } = require("node:url");

const { RuntimeError } = require("./failure.cjs");
const { importAsOnLambda } = require("./resolve.cjs");

async function loadHandler(root, name, settings) {
  const { directory, module, attributes } = parse(name);
  const exported = await loaded(root, directory, module, settings);
  const handler = find(exported, attributes) ?? find(exported?.default, attributes);
  const file = path.posix.join(directory, module);
  if (handler === undefined || handler === null) {
    const there = Object.keys(exported ?? {}).filter((key) => typeof exported[key] === "function");
    const has = there.length > 0 ? `it exports ${there.join(", ")}` : "it exports no function";
    throw new RuntimeError("Runtime.HandlerNotFound", `${name} is undefined or not exported: ${file}: ${has}`);
  }
  if (typeof handler !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", `${name} is not a function`);
  }
  if (!settings.hasCallbacks && handler.length >= 3) {
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      `${name} takes a callback, which Lambda has no more from Node.js 24 on: return a promise`,
    );
  }
  return handler;
}

function parse(name) {
  if (name.includes("..")) {
    throw new RuntimeError("Runtime.MalformedHandlerName", `'${name}' is not a valid handler name: use no '..'`);
  }
  const [, directory, module, attributes] = /^(.*?)([^/.]+)\.(.+)$/.exec(name) ?? [];
  if (module === undefined) {
    const text = `'${name}' is not a valid handler name; allowed: module.handler or path/to/module.handler`;
    throw new RuntimeError("Runtime.MalformedHandlerName", text);
  }
  return { directory, module, attributes: attributes.split(".") };
}

function find(exported, attributes) {
  return attributes.reduce((found, attribute) => found?.[attribute], exported);
}

async function loaded(root, directory, module, settings) {
  const place = path.resolve(root, directory, module);
  const file = ["", ".js", ".mjs", ".cjs"].map((ending) => place + ending).find(isFile) ?? directoryAt(place);
  try {
    if (file !== undefined && isModule(file)) {
      importAsOnLambda(settings);
      return await import(pathToFileURL(file).href);
    }
    if (file !== undefined) {
      return require(file);
    }
    const requireFrom = createRequire(path.join(root, "package.json"));
    return requireFrom(requireFrom.resolve(path.posix.join(directory, module)));
  } catch (error) {
    throw explained(error, file === undefined, root, path.posix.join(directory, module));
  }
}

// A directory with an index.js, or with a package.json that names its file.
function directoryAt(place) {
  return fs.existsSync(place) ? place : undefined;
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isModule(file) {
  return file.endsWith(".mjs") || (file.endsWith(".js") && typeOf(path.dirname(file)) === "module");
}

// The "type" of the nearest package.json.
function typeOf(directory) {
  const file = path.join(directory, "package.json");
  if (isFile(file)) {
    try {
      return JSON.parse(fs.readFileSync(file, "utf8")).type;
    } catch {
      return undefined;
    }
  }
  const above = path.dirname(directory);
  return above === directory ? undefined : typeOf(above);
}

function explained(error, isMissing, root, module) {
  if (isMissing && error?.code === "MODULE_NOT_FOUND") {
    const text = `Error: Cannot find module '${module}' in ${root}; allowed: ${module}.js, .mjs or .cjs`;
    return new RuntimeError("Runtime.ImportModuleError", text);
  }
  if (error instanceof SyntaxError) {
    return new RuntimeError("Runtime.UserCodeSyntaxError", String(error), error);
  }
  if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
    return new RuntimeError("Runtime.ImportModuleError", `Error: ${String(error.message).split("\n")[0]}`, error);
  }
  return error;
}

module.exports = { loadHandler };
