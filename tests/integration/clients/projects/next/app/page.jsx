// A component of the server. uploads.jsx is the example of the hooks' README, with "use client".

import Uploads from "./uploads";

export default function Page() {
  return (
    <main>
      <h1>Uploads of today</h1>
      <Uploads />
    </main>
  );
}
