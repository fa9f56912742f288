// The comparison of cursors: `<epoch>:<offset>`, where an epoch may contain colons.

/** Return true if the position of a cursor is within everything up to `seen`. */
export function covers(seen: string | undefined, cursor: string | undefined): boolean {
  if (seen === undefined || cursor === undefined) return false;
  const [one, other] = [seen.lastIndexOf(":"), cursor.lastIndexOf(":")];
  const isSameEpoch = seen.slice(0, one) === cursor.slice(0, other);
  return isSameEpoch && Number(cursor.slice(other + 1)) <= Number(seen.slice(one + 1));
}
