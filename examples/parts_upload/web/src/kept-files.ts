// Files that are on their way, kept in the browser's database: a page that is loaded anew goes on with them.

/** The files of an upload that are to be sent. */
export interface Parcel {
  readonly id: string;
  readonly user: string;
  /** Each kind has its worker. */
  readonly kind: "parts" | "images";
  readonly paced: boolean;
  readonly files: readonly File[];
  /** Milliseconds since 1970. */
  readonly begunAt: number;
}

const STORE = "parcels";
/** Files that nobody came back for are removed after this time. */
const MAX_AGE_MS = 24 * 3600 * 1000;

export function keep(parcel: Parcel): Promise<unknown> {
  return run("readwrite", (store) => store.put(parcel));
}

export function forget(id: string): Promise<unknown> {
  return run("readwrite", (store) => store.delete(id));
}

export async function isKept(id: string): Promise<boolean> {
  return (await run("readonly", (store) => store.getKey(id))) !== undefined;
}

/** Return those of a user, in their order. */
export async function keptOf(user: string): Promise<readonly Parcel[]> {
  const all: readonly Parcel[] = await run("readonly", (store) => store.getAll());
  for (const { id, begunAt } of all) if (begunAt < Date.now() - MAX_AGE_MS) await forget(id);
  return all.filter((each) => each.user === user).sort((one, other) => one.begunAt - other.begunAt);
}

async function run<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const opening = indexedDB.open("partsbook", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
  const database = await done(opening);
  try {
    return await done(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
