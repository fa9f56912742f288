// The application: for a signed-in user a client, shared with the other tabs of the browser, and the desk.

import { sharedClient } from "@tellwire/client/shared";
import { TellwireProvider } from "@tellwire/react";
import { type ReactElement, useState } from "react";
import { Api } from "./api.ts";
import { Desk } from "./desk.tsx";
import { network } from "./network.ts";
import { SignIn } from "./sign-in.tsx";
import { useUser } from "./user.ts";

export function App(): ReactElement {
  const user = useUser();
  return user === null ? <SignIn /> : <SignedIn key={user} user={user} />;
}

function SignedIn({ user }: { user: string }): ReactElement {
  const [{ api, client }] = useState(() => connectionOf(user));
  return (
    <TellwireProvider client={client}>
      <Desk api={api} />
    </TellwireProvider>
  );
}

function connectionOf(user: string) {
  const api = new Api(network, user);
  const { environment } = network;
  // A gateway answers on every path; this one differs from those of the development server. A page that is loaded anew
  // has no state, so it begins with all that the gateway keeps.
  const client = sharedClient({ url: "/live", user, getToken: api.token, startFrom: "oldest", environment });
  return { api, client };
}
