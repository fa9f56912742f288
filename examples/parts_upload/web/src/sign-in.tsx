// The sign-in form. There is no password: anybody who reaches this server may use any name.

import { type FormEvent, type ReactElement, useId } from "react";
import { Brand } from "./brand.tsx";
import { setUser } from "./user.ts";

export function SignIn(): ReactElement {
  const hint = useId();
  const signIn = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name")).trim();
    if (name !== "") setUser(name);
  };
  return (
    <main className="door">
      <div className="card door-card">
        <Brand />
        <h1>Import parts and watch it happen</h1>
        <p className="quiet">
          Drop a parts list and some pictures. Every tab and every device of yours shows how far they are.
        </p>
        <form onSubmit={signIn}>
          <label>
            Your name
            <input
              name="name"
              defaultValue="demo-user"
              maxLength={64}
              required
              autoComplete="off"
              aria-describedby={hint}
            />
          </label>
          <button type="submit" className="button primary">
            Sign in
          </button>
        </form>
        <p className="quiet small" id={hint}>
          No password: this server is for demonstration and listens on your own machine only. The same name on another
          device sees the same uploads.
        </p>
      </div>
    </main>
  );
}
