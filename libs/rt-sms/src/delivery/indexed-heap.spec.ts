import fc from 'fast-check';
import { IndexedHeap, type HeapItem } from './indexed-heap.js';

class Item implements HeapItem {
  index = -1;
  constructor(public key: number) {}
}

const heapOf = (keys: readonly number[]) => {
  const heap = new IndexedHeap<Item>((a, b) => a.key < b.key);
  const items = keys.map((key) => new Item(key));
  for (const item of items) heap.put(item);
  return { heap, items };
};
const drain = (heap: IndexedHeap<Item>) => {
  const keys: number[] = [];
  for (let item = heap.first; item; item = heap.first) {
    keys.push(item.key);
    heap.remove(item);
  }
  return keys;
};
const ascending = (keys: readonly number[]) => keys.toSorted((a, b) => a - b);

describe('IndexedHeap', () => {
  it('returns its items in order, for any order of insertion', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), (keys) => {
        expect(drain(heapOf(keys).heap)).toEqual(ascending(keys));
      }),
    );
  });

  it('stays in order while items are inserted, moved and removed', () => {
    const step = fc.record({
      item: fc.nat({ max: 39 }),
      key: fc.nat({ max: 50 }),
      act: fc.constantFrom('put', 'remove'),
    });
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 50 }), { minLength: 40, maxLength: 40 }),
        fc.array(step, { minLength: 30, maxLength: 100 }),
        (keys, steps) => {
          const { heap, items } = heapOf(keys);
          const model = new Set(items);
          for (const { item: index, key, act } of steps) {
            const item = items[index]!;
            if (act === 'put') {
              item.key = key;
              heap.put(item);
              model.add(item);
            } else {
              heap.remove(item);
              model.delete(item);
            }
            expect(heap.size).toBe(model.size);
            expect(heap.first?.key).toBe(model.size ? Math.min(...[...model].map((each) => each.key)) : undefined);
          }
          expect(items.filter(({ index }) => index >= 0)).toHaveLength(model.size);
          expect(drain(heap)).toEqual(ascending([...model].map((each) => each.key)));
          expect(items.every(({ index }) => index === -1)).toBe(true);
        },
      ),
    );
  });

  it('ignores the removal of an item that is in another heap or in none', () => {
    const { heap, items } = heapOf([2, 1]);
    const other = heapOf([4, 3, 5]);
    heap.remove(new Item(0));
    for (const item of other.items) heap.remove(item);
    for (const item of items) other.heap.remove(item);
    expect(drain(heap)).toEqual([1, 2]);
    expect(drain(other.heap)).toEqual([3, 4, 5]);
  });
});
