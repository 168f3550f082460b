/** Keeps the last `limit` items. It trims only after twice as many were pushed, which is cheap on average. */
export class Recent<T> {
  readonly #kept: T[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(item: T): void {
    if (this.#kept.push(item) >= 2 * this.#limit) this.#kept.splice(0, this.#limit);
  }

  list(): T[] {
    return this.#kept.slice(-this.#limit);
  }
}
