// The hook of ES modules: a package that is not above the code is looked for in the layers, and the AWS SDK in the project.

import path from "node:path";
import { pathToFileURL } from "node:url";

import placesModule from "./places.cjs";

let places = { layers: [], sdk: [], hasSdk2: false };

export function initialize(data) {
  places = data;
}

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error?.code === "ERR_MODULE_NOT_FOUND" && /^(@|[a-z0-9])/i.test(specifier) && !specifier.includes(":")) {
      for (const directory of directories(specifier)) {
        const parentURL = pathToFileURL(path.join(directory, "index.mjs")).href;
        try {
          return await next(specifier, { ...context, parentURL });
        } catch {
          // The next one, or the first error.
        }
      }
    }
    throw error;
  }
}

function directories(specifier) {
  const layers = places.layers.map((each) => path.dirname(each));
  return placesModule.isOfLambda(specifier, places) ? [...layers, ...places.sdk] : layers;
}
