// Who is signed in has a client, shared with the browser's other tabs, and a desk to work at.

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
  // A gateway answers on every path; this one can be told from the development server's own. A page that was loaded anew
  // has forgotten everything, so it begins with all that the gateway keeps, wherever it was before.
  const client = sharedClient({ url: "/live", user, getToken: api.token, startFrom: "oldest", environment });
  return { api, client };
}
