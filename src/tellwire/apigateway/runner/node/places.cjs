// Where packages are that are not in a node_modules above the code. Used on both sides of module.register.

"use strict";

const path = require("node:path");

function placesOf(settings, nodePath) {
  const layers = (nodePath ?? "").split(path.delimiter).filter((each) => path.basename(each) === "node_modules");
  return { layers, sdk: settings.sdkPaths.map((each) => path.dirname(each)), hasSdk2: settings.hasSdk2 };
}

// The packages that Lambda's runtime has itself.
function isOfLambda(name, places) {
  return /^@(aws-sdk|smithy)\//.test(name) || (places.hasSdk2 && /^aws-sdk(\/|$)/.test(name));
}

module.exports = { isOfLambda, placesOf };
