// The entry of the application. Mobile.js is an example of the client's README, App.js that of the hooks.

import * as client from "@tellwire/client";
import * as shared from "@tellwire/client/shared";
import App from "./App";
import { mobile } from "./Mobile";

globalThis.application = { App, client, mobile, shared };
