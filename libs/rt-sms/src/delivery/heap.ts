/** What a `Heap` holds: it keeps the place in the item itself, so that any item can be taken out at once. */
export interface HeapItem {
  /** -1 while it is in no heap. */
  place: number;
}

/** A binary heap, the smallest first. */
export class Heap<T extends HeapItem> {
  private readonly items: T[] = [];

  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get size(): number {
    return this.items.length;
  }

  get first(): T | undefined {
    return this.items[0];
  }

  /** Puts an item in, or in its new place if it is in and its key has changed. */
  put(item: T): void {
    if (item.place < 0) {
      item.place = this.items.length;
      this.items.push(item);
    }
    this.up(item);
    this.down(item);
  }

  /** Takes an item out; one that is in no heap, or in another one, is left alone. */
  remove(item: T): void {
    if (this.items[item.place] !== item) return;
    const last = this.items.pop()!;
    if (last !== item) {
      last.place = item.place;
      this.items[last.place] = last;
      this.up(last);
      this.down(last);
    }
    item.place = -1;
  }

  private up(item: T): void {
    while (item.place > 0) {
      const parent = this.items[(item.place - 1) >> 1]!;
      if (!this.before(item, parent)) return;
      this.swap(item, parent);
    }
  }

  private down(item: T): void {
    for (;;) {
      const left = this.items[2 * item.place + 1];
      const right = this.items[2 * item.place + 2];
      const child = right && left && this.before(right, left) ? right : left;
      if (!child || !this.before(child, item)) return;
      this.swap(child, item);
    }
  }

  private swap(a: T, b: T): void {
    [a.place, b.place] = [b.place, a.place];
    this.items[a.place] = a;
    this.items[b.place] = b;
  }
}
