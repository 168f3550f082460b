/** Key of a class property that holds the name which is the same in every copy of this package. */
const CLASS_NAME = Symbol.for('nestjs-rt-sms:class');

/** Names classes, so that other copies of the package recognise them. */
export function nameClasses(classes: Record<string, object>): void {
  for (const [name, type] of Object.entries(classes)) Object.defineProperty(type, CLASS_NAME, { value: name });
}

/**
 * Implements `instanceof` for `Symbol.hasInstance`, also for instances of the same class in another copy of the package. One
 * process may load two copies, by `import` and by `require`, and it must not matter which of them threw.
 */
export function isInstance(type: object, value: unknown): boolean {
  if (Function.prototype[Symbol.hasInstance].call(type, value)) return true;
  const name = ownName(type);
  // A subclass in the application is not named, and only that class creates its instances.
  if (name === undefined || typeof value !== 'object') return false;
  for (let prototype: unknown = value; prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
    if (ownName(Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value) === name) return true;
  }
  return false;
}

const ownName = (type: unknown): unknown =>
  typeof type === 'function' ? Object.getOwnPropertyDescriptor(type, CLASS_NAME)?.value : undefined;
