/** Property of a class: its name, by which every copy of this package knows it. */
const CLASS_NAME = Symbol.for('nestjs-rt-sms:class');

/** Gives classes the names by which other copies of the package know them. */
export function nameClasses(classes: Record<string, object>): void {
  for (const [name, type] of Object.entries(classes)) Object.defineProperty(type, CLASS_NAME, { value: name });
}

/**
 * For `Symbol.hasInstance`: `instanceof` that takes an instance of the same class of another copy as well. One process may hold
 * two copies, one by `import` and one by `require`, and users must not have to know which of them threw.
 */
export function isInstance(type: object, value: unknown): boolean {
  if (Function.prototype[Symbol.hasInstance].call(type, value)) return true;
  const name = ownName(type);
  // A class that extends one of ours has no name of its own: its instances are made by nothing but itself.
  if (name === undefined || typeof value !== 'object') return false;
  for (let prototype: unknown = value; prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
    if (ownName(Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value) === name) return true;
  }
  return false;
}

const ownName = (type: unknown): unknown =>
  typeof type === 'function' ? Object.getOwnPropertyDescriptor(type, CLASS_NAME)?.value : undefined;
