// Sign in, connect with the session's cookie, and send a file. The elements show the rest.

import { connect } from "/live/client/tellwire.js";

const login = document.querySelector("#login");
const upload = document.querySelector("#import");

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const user = new FormData(login).get("user");
  await fetch(`/login/${encodeURIComponent(user)}`, { method: "POST" });
  connect({ url: new URL("/live/", location.href).href });
  login.hidden = true;
  upload.hidden = false;
});

upload.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = new FormData(upload).get("file");
  await fetch(`/imports?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
});
