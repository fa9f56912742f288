// Bundles the page, and fails for a warning, too.

const webpack = require("webpack");

const options = { mode: "production", context: __dirname, entry: "./index.js", performance: { hints: false } };
webpack(options, (error, stats) => {
  if (error !== null || stats.hasErrors() || stats.hasWarnings()) {
    console.error(error ?? stats.toString("errors-warnings"));
    process.exitCode = 1;
  }
});
