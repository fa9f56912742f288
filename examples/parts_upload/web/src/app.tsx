// The application: for a signed-in user the desk, with a connection that all tabs of the browser share.

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
  const [api] = useState(() => new Api(network, user));
  // A gateway answers on every path; this one differs from those of the development server. A page that is loaded anew
  // has no state, so it begins with all that the gateway keeps.
  return (
    <TellwireProvider
      shared
      url="/live"
      user={user}
      getToken={api.token}
      startFrom="oldest"
      environment={network.environment}
    >
      <Desk api={api} />
    </TellwireProvider>
  );
}
