/**
 * A map that forgets entries that were not used for a long time: at least the `size` entries used last are kept, at most twice as
 * many. Deleting the least recently used entries one by one would slow down a large Map, which skips deleted ones.
 */
export class Generations<V> {
  private young = new Map<string, V>();
  private old = new Map<string, V>();
  private rotatedAt = performance.now();

  constructor(private readonly size: number) {}

  get(key: string): V | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const former = this.old.get(key);
    if (former !== undefined) this.set(key, former);
    return former;
  }

  set(key: string, value: V): void {
    if (this.young.size >= this.size) this.rotate(performance.now());
    this.young.set(key, value);
  }

  delete(key: string): void {
    this.young.delete(key);
    this.old.delete(key);
  }

  /** Forgets entries that were not used for `unusedMs`, at the latest after twice this time. */
  forgetUnused(unusedMs: number, now: number): void {
    if (now - this.rotatedAt >= unusedMs) this.rotate(now);
  }

  private rotate(now: number): void {
    this.rotatedAt = now;
    this.old = this.young;
    this.young = new Map();
  }
}
