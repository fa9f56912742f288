// Packages as Lambda finds them: those of layers, by NODE_PATH also for ES modules, and the AWS SDK, which Lambda brings
// and this machine may have in the project's node_modules.

"use strict";

const module_ = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const { isOfLambda, placesOf } = require("./places.cjs");

// For a handler that is an ES module. The hook has a thread of its own, which takes 50 ms to start.
function importAsOnLambda(settings) {
  if (typeof module_.register === "function") {
    // Since 18.19. Before, ES modules find what is in node_modules above them.
    const data = placesOf(settings, process.env.NODE_PATH);
    module_.register(pathToFileURL(path.join(__dirname, "hooks.mjs")).href, { data });
  }
}

function requireAsOnLambda(settings) {
  const places = placesOf(settings, process.env.NODE_PATH);
  const original = module_._resolveFilename;
  module_._resolveFilename = function (request, parent, isMain, options) {
    try {
      return original.call(this, request, parent, isMain, options);
    } catch (error) {
      if (error?.code === "MODULE_NOT_FOUND" && isOfLambda(request, places) && !options?.paths) {
        try {
          return original.call(this, request, parent, isMain, { paths: places.sdk });
        } catch {
          // The first error names who wanted it.
        }
      }
      throw error;
    }
  };
}

// One line that says how to install what Lambda brings, if that is missing.
function missingSdk(error, settings) {
  const cause = error?.from ?? error;
  if (cause?.code !== "MODULE_NOT_FOUND" && cause?.code !== "ERR_MODULE_NOT_FOUND") {
    return undefined;
  }
  const [, name] = /Cannot find (?:module|package) '((?:@[^/']+\/)?[^/']+)/.exec(String(cause.message)) ?? [];
  if (name === undefined || !/^(@aws-sdk|@smithy|aws-sdk)(\/|$)/.test(name)) {
    return undefined;
  }
  if (name === "aws-sdk" && !settings.hasSdk2) {
    return `Lambda's ${settings.runtime} has no aws-sdk (version 2) either: npm install aws-sdk, or use @aws-sdk/client-…`;
  }
  return `Lambda brings ${name}, and this machine does not have it: npm install --save-dev ${name}`;
}

module.exports = { importAsOnLambda, requireAsOnLambda, missingSdk };
