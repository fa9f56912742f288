// Cursors, as far as a page needs to understand them: `<epoch>:<offset>`, of which an epoch may have colons in it.

/** Tell whether who has seen everything up to a cursor has seen what is at another. */
export function covers(seen: string | undefined, cursor: string | undefined): boolean {
  if (seen === undefined || cursor === undefined) return false;
  const [one, other] = [seen.lastIndexOf(":"), cursor.lastIndexOf(":")];
  const isSameEpoch = seen.slice(0, one) === cursor.slice(0, other);
  return isSameEpoch && Number(cursor.slice(other + 1)) <= Number(seen.slice(one + 1));
}
