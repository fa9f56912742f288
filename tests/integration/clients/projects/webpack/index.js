import { TellwireClient } from "@tellwire/client";
import { sharedClient } from "@tellwire/client/shared";
import * as hooks from "@tellwire/react";

globalThis.application = { TellwireClient, sharedClient, hooks };
