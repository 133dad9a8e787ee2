// A list of any length: only the rows in sight are in the document. One row is in the tab order; arrows move on.

import { h, replace } from "./dom.js";

const SPARE = 6;
const EDGE = 16;

export class List {
  // `columns` are {label, cell(item), class}; `signature(item)` changes when the row must be drawn anew.
  constructor({ label, columns, key, signature, rowHeight = 48, onOpen, onKey }) {
    Object.assign(this, { columns, key, signature, rowHeight, onOpen, onKey });
    this.items = [];
    this.rows = new Map();
    this.active = null;
    this.space = h("div", { class: "list-space", role: "rowgroup" });
    this.head = h(
      "div",
      { class: "list-head row", role: "row" },
      columns.map((each) => h("span", { role: "columnheader", class: each.class }, each.label)),
    );
    this.scroller = h("div", { class: "list-scroll", role: "presentation" }, this.space);
    this.empty = h("div", { class: "list-empty" });
    this.element = h(
      "div",
      { class: "list", role: "table", "aria-label": label },
      h("div", { role: "rowgroup" }, this.head),
      this.scroller,
      this.empty,
    );
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.space.addEventListener("keydown", (event) => this.keydown(event));
    this.space.addEventListener("focusin", (event) => this.focused(event));
    this.space.addEventListener("click", (event) => this.clicked(event));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.scroller);
  }

  show(items, whenEmpty) {
    this.items = items;
    this.element.setAttribute("aria-rowcount", String(items.length + 1));
    this.element.classList.toggle("is-empty", items.length === 0);
    replace(this.empty, items.length === 0 ? whenEmpty : null);
    this.draw();
  }

  destroy() {
    this.resized.disconnect();
  }

  draw() {
    const { items, rowHeight } = this;
    this.space.style.height = `${items.length * rowHeight}px`;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / rowHeight) - SPARE);
    const last = Math.min(
      items.length,
      Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / rowHeight) + SPARE,
    );
    this.head.style.paddingRight = `${this.scroller.offsetWidth - this.scroller.clientWidth + EDGE}px`;
    const held = this.held();
    const wanted = new Map();
    if (!items.some((item) => this.key(item) === this.active))
      this.active = items[0] === undefined ? null : this.key(items[0]);
    for (let n = first; n < last; n += 1) wanted.set(this.key(items[n]), n);
    for (const [key, row] of this.rows)
      if (!wanted.has(key)) {
        row.element.remove();
        this.rows.delete(key);
      }
    for (const [key, n] of wanted) this.place(key, items[n], n);
    if (held) this.restore(held);
  }

  place(key, item, n) {
    const signature = this.signature(item);
    let row = this.rows.get(key);
    if (row?.signature !== signature) {
      const element = h(
        "div",
        { class: "row", role: "row", data: { key } },
        this.columns.map((each) => h("span", { role: "cell", class: each.class }, each.cell(item))),
      );
      if (row) row.element.replaceWith(element);
      else this.space.append(element);
      row = { element, signature };
      this.rows.set(key, row);
    }
    row.element.style.transform = `translateY(${n * this.rowHeight}px)`;
    row.element.setAttribute("aria-rowindex", String(n + 2));
    row.element.tabIndex = key === this.active ? 0 : -1;
  }

  // What has the focus in here, so that drawing a row anew does not lose it.
  held() {
    const focus = document.activeElement;
    const row = focus?.closest?.("[data-key]");
    return row && this.space.contains(row) ? { key: row.dataset.key, action: focus.dataset.action } : null;
  }

  restore({ key, action }) {
    const row = this.rows.get(key)?.element;
    if (!row || row.contains(document.activeElement)) return;
    const inner = action && [...row.querySelectorAll("[data-action]")].find((each) => each.dataset.action === action);
    (inner ?? row).focus({ preventScroll: true });
  }

  index() {
    return this.items.findIndex((item) => this.key(item) === this.active);
  }

  move(to) {
    const n = Math.max(0, Math.min(this.items.length - 1, to));
    if (!this.items[n]) return;
    this.active = this.key(this.items[n]);
    const top = n * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight)
      this.scroller.scrollTop = top + this.rowHeight - clientHeight;
    this.draw();
    this.rows.get(this.active)?.element.focus({ preventScroll: true });
  }

  keydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const item = this.items[this.index()];
    if (event.key in steps) this.move(this.index() + steps[event.key]);
    else if (event.key === "Enter" && event.target.dataset.key !== undefined) this.onOpen?.(item);
    else if (!this.onKey?.(item, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  focused(event) {
    const row = event.target.closest("[data-key]");
    if (row && row.dataset.key !== this.active) {
      this.active = row.dataset.key;
      this.draw();
    }
  }

  clicked(event) {
    const row = event.target.closest("[data-key]");
    if (!row || event.target.closest("button, a")) return;
    const item = this.items.find((each) => this.key(each) === row.dataset.key);
    if (item) this.onOpen?.(item);
  }
}
