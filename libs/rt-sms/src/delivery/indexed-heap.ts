/** An item of a heap. It stores its own position, so that it can be removed without a search. */
export interface HeapItem {
  /** Position in the heap; -1 outside any heap. */
  index: number;
}

/** A binary heap with the smallest item first. */
export class IndexedHeap<T extends HeapItem> {
  private readonly items: T[] = [];

  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get size(): number {
    return this.items.length;
  }

  get first(): T | undefined {
    return this.items[0];
  }

  /** Adds an item, or moves it after a change of its key. */
  put(item: T): void {
    if (item.index < 0) {
      item.index = this.items.length;
      this.items.push(item);
    }
    this.up(item);
    this.down(item);
  }

  /** Removes an item. Does nothing if it is not in this heap. */
  remove(item: T): void {
    if (this.items[item.index] !== item) return;
    const last = this.items.pop()!;
    if (last !== item) {
      last.index = item.index;
      this.items[last.index] = last;
      this.up(last);
      this.down(last);
    }
    item.index = -1;
  }

  private up(item: T): void {
    while (item.index > 0) {
      const parent = this.items[(item.index - 1) >> 1]!;
      if (!this.before(item, parent)) return;
      this.swap(item, parent);
    }
  }

  private down(item: T): void {
    for (;;) {
      const left = this.items[2 * item.index + 1];
      const right = this.items[2 * item.index + 2];
      const child = right && left && this.before(right, left) ? right : left;
      if (!child || !this.before(child, item)) return;
      this.swap(child, item);
    }
  }

  private swap(a: T, b: T): void {
    [a.index, b.index] = [b.index, a.index];
    this.items[a.index] = a;
    this.items[b.index] = b;
  }
}
