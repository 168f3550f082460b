type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Returns a copy without the keys whose value is undefined. */
export function defined<T extends object>(value: T): Defined<T> {
  const rest: Partial<T> = {};
  for (const key of Object.keys(value) as (keyof T)[]) if (value[key] !== undefined) rest[key] = value[key];
  return rest as unknown as Defined<T>;
}
