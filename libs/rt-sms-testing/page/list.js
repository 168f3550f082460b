import { h } from './dom.js';

const SPARE = 6;

/**
 * @template Row
 * @typedef {object} ListOptions
 * @property {(row: Row) => string} keyOf
 * @property {() => HTMLElement} make an element for a row
 * @property {(element: HTMLElement, row: Row) => void} fill
 * @property {(row: Row, follow?: boolean) => void} pick on a choice
 * @property {(row: Row) => void} open on Enter or a click
 */

/**
 * A listbox with rows of equal height. Only visible rows have an element, and scrolling reuses the elements for other
 * rows. Rows are objects; a changed row is a new object.
 * @template {object} Row
 */
export class VirtualList {
  /** @type {readonly Row[]} */
  rows = [];
  /** @type {string | undefined} */
  selected;
  /** @type {HTMLElement} */
  #box;
  /** @type {ListOptions<Row>} */
  #options;
  /** @type {{ element: HTMLElement; index: number; height?: number; row: Row | undefined; used?: boolean }[]} */
  #slots = [];
  #spacer = h('div', { role: 'presentation', class: 'spacer' });
  /** @type {(row: Row) => string} */
  #keyOf;
  #drawing = false;

  /**
   * @param {HTMLElement} box
   * @param {ListOptions<Row>} options
   */
  constructor(box, options) {
    this.#box = box;
    this.#options = options;
    this.#keyOf = options.keyOf;
    box.append(this.#spacer);
    box.addEventListener('scroll', () => this.draw(), { passive: true });
    box.addEventListener('keydown', (event) => this.key(event));
    box.addEventListener('click', (event) => {
      const slot = this.#slots.find(({ element }) => element.contains(/** @type {Node} */ (event.target)));
      if (!slot?.row) return;
      this.#options.pick(slot.row);
      this.#options.open(slot.row);
    });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get rowHeight() {
    return matchMedia('(max-width: 760px)').matches ? 68 : 42;
  }

  get atTop() {
    return this.#box.scrollTop < this.rowHeight;
  }

  /**
   * Sets the rows in display order. Visible rows stay visible, unless the list was scrolled to the top.
   * @param {readonly Row[]} rows
   */
  set(rows) {
    const first = this.atTop ? undefined : this.rows[Math.floor(this.#box.scrollTop / this.rowHeight)];
    this.rows = rows;
    this.#spacer.style.height = rows.length * this.rowHeight + 'px';
    if (first) {
      const key = this.#keyOf(first);
      const now = rows.findIndex((row) => this.#keyOf(row) === key);
      const before = this.#box.scrollTop;
      if (now >= 0) this.#box.scrollTop = now * this.rowHeight + (before % this.rowHeight);
    }
    this.draw();
  }

  /** Fills all rows again, for example after the language changed. */
  refill() {
    for (const slot of this.#slots) slot.row = undefined;
    this.draw();
  }

  /** The chosen row, if it is in the list. */
  get chosen() {
    return this.rows.find((row) => this.#keyOf(row) === this.selected);
  }

  /** @param {string} key */
  select(key, intoView = false) {
    this.selected = key;
    if (intoView) this.#show(this.rows.findIndex((row) => this.#keyOf(row) === key));
    this.draw();
  }

  toTop() {
    this.#box.scrollTop = 0;
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#draw();
    });
  }

  #draw() {
    const height = this.rowHeight;
    const top = this.#box.scrollTop;
    const inSight = Math.ceil(this.#box.clientHeight / height) + 1;
    const first = Math.max(0, Math.floor(top / height) - SPARE);
    const end = Math.min(this.rows.length, first + inSight + 2 * SPARE);
    while (this.#slots.length < inSight + 2 * SPARE) {
      const element = this.#options.make();
      element.setAttribute('role', 'option');
      element.id = this.#box.id + '-' + this.#slots.length;
      this.#spacer.append(element);
      this.#slots.push({ element, index: -1, row: undefined });
    }
    let active = '';
    for (const slot of this.#slots) slot.used = false;
    for (let index = first; index < end; index++) {
      const row = this.rows[index];
      const slot = this.#slots[index % this.#slots.length];
      if (!row || !slot) continue;
      const { element } = slot;
      slot.used = true;
      if (slot.index !== index || slot.height !== height) {
        element.style.transform = 'translateY(' + index * height + 'px)';
        element.setAttribute('aria-posinset', String(index + 1));
        slot.index = index;
        slot.height = height;
      }
      if (slot.row !== row) {
        this.#options.fill(element, row);
        slot.row = row;
      }
      const selected = this.#keyOf(row) === this.selected;
      element.setAttribute('aria-selected', String(selected));
      element.setAttribute('aria-setsize', String(this.rows.length));
      element.hidden = false;
      if (selected) active = element.id;
    }
    for (const slot of this.#slots) if (!slot.used) slot.element.hidden = true;
    if (active) this.#box.setAttribute('aria-activedescendant', active);
    else this.#box.removeAttribute('aria-activedescendant');
  }

  /** @param {number} index */
  #show(index) {
    if (index < 0) return;
    const height = this.rowHeight;
    const { scrollTop, clientHeight } = this.#box;
    if (index * height < scrollTop) this.#box.scrollTop = index * height;
    else if ((index + 1) * height > scrollTop + clientHeight) this.#box.scrollTop = (index + 1) * height - clientHeight;
  }

  /**
   * Moves the choice and opens the chosen row; also called for keys pressed while nothing has the focus.
   * @param {KeyboardEvent} event
   */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.rowHeight) - 1);
    const now = this.rows.findIndex((row) => this.#keyOf(row) === this.selected);
    /** @type {Record<string, number>} */
    const moves = {
      ArrowDown: now + 1,
      ArrowUp: now - 1,
      PageDown: now + page,
      PageUp: now - page,
      Home: 0,
      End: Infinity,
    };
    const to = moves[event.key];
    const chosen = this.rows[now];
    if (to !== undefined) {
      event.preventDefault();
      const index = Math.min(Math.max(0, to), this.rows.length - 1);
      const row = this.rows[index];
      if (!row) return;
      this.#show(index);
      this.#options.pick(row, event.key === 'Home');
    } else if (chosen && (event.key === 'Enter' || event.key === ' ')) {
      event.preventDefault();
      this.#options.open(chosen);
    }
  }
}
