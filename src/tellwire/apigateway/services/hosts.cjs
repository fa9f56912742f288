// Host names of AWS lead to this machine, in a process of Node: `node --require hosts.cjs`.
//
// TELLWIRE_LOCAL_HOSTS has the end of a name, and `host:port` in its place or null. The longest end that fits decides.
// Only the address of the connection changes: names in TLS and in HTTP stay, and the certificate has them.
"use strict";

const net = require("node:net");

const table = Object.entries(JSON.parse(process.env.TELLWIRE_LOCAL_HOSTS || "{}")).sort(
  ([one], [other]) => other.length - one.length,
);

function addressOf(host) {
  const name = String(host).toLowerCase().replace(/\.$/, "");
  const found = table.find(([end]) => (end.startsWith(".") ? name.endsWith(end) : name === end));
  if (found === undefined || found[1] === null) return undefined;
  const colon = found[1].lastIndexOf(":");
  return { host: found[1].slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(found[1].slice(colon + 1)) };
}

if (table.length > 0) {
  const connect = net.Socket.prototype.connect;
  net.Socket.prototype.connect = function (...parameters) {
    // Node itself calls it with its own list [options, callback], others with options, or with a port and a host.
    const normalized = Array.isArray(parameters[0]) ? parameters[0] : parameters;
    const options = normalized[0];
    if (options !== null && typeof options === "object") {
      const address = addressOf(options.host);
      if (address !== undefined) normalized[0] = { ...options, ...address };
    } else if (typeof normalized[1] === "string") {
      const address = addressOf(normalized[1]);
      if (address !== undefined) [normalized[0], normalized[1]] = [address.port, address.host];
    }
    return connect.apply(this, parameters);
  };
}
