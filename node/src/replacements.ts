/** Properties of other people's objects that are replaced for a while. */

/**
 * Gives the property that value, and what takes it back. If somebody else has replaced it meanwhile it
 * stays as they left it: what they wrapped, the value given here, must then do what the one before
 * did. Undefined where the property can't be replaced.
 */
export function replaceProperty(object: object, key: string, value: unknown): (() => void) | undefined {
  const before = Object.getOwnPropertyDescriptor(object, key);
  const fixed = before?.configurable === false;
  if (fixed && before.writable !== true) return undefined;
  const set = (to: unknown) => ((object as Record<string, unknown>)[key] = to);
  if (fixed) {
    set(value);
  } else {
    Object.defineProperty(object, key, {
      value,
      configurable: true,
      writable: true,
      enumerable: before?.enumerable ?? true,
    });
  }
  return () => {
    if (Object.getOwnPropertyDescriptor(object, key)?.value !== value) return;
    if (before === undefined) delete (object as Record<string, unknown>)[key];
    else if (fixed) set(before.value);
    else Object.defineProperty(object, key, before);
  };
}
