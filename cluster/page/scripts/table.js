// A table that can be sorted by its headings, and shows more when asked.

import { el } from "./dom.js";

const NONE_LAST = (value, up) => value ?? (up ? Infinity : -Infinity);

/**
 * columns  {title, value(row), cell(row), figures, up}: what sorts, what is shown; `up` where small ones come first
 * most     rows shown at first
 */
export class SortedTable {
  constructor({ caption, columns, most, sortedBy = 0 }) {
    Object.assign(this, { columns, most, column: sortedBy, up: Boolean(columns[sortedBy].up), rows: [], all: false });
    this.head = el("tr");
    this.body = el("tbody");
    this.more = el("button", { type: "button", class: "quiet", click: () => this.toggle() });
    this.table = el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, this.head), this.body);
    this.node = el(
      "div",
      {},
      el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption }, this.table),
      this.more,
    );
    this.headings();
  }

  take(rows) {
    this.rows = rows;
    this.fill();
  }

  headings() {
    const cells = this.columns.map((column, index) => {
      const sorted = index === this.column ? (this.up ? "ascending" : "descending") : null;
      const button = el("button", { type: "button", click: () => this.sort(index) }, column.title);
      return el("th", { scope: "col", "aria-sort": sorted, class: column.figures ? "figures" : null }, button);
    });
    const focused = [...this.head.children].findIndex((cell) => cell.contains(document.activeElement));
    this.head.replaceChildren(...cells);
    if (focused >= 0) cells[focused].firstChild.focus();
  }

  sort(index) {
    this.up = index === this.column ? !this.up : Boolean(this.columns[index].up);
    this.column = index;
    this.headings();
    this.fill();
  }

  toggle() {
    this.all = !this.all;
    this.fill();
  }

  fill() {
    const { value } = this.columns[this.column];
    const sign = this.up ? 1 : -1;
    const order = (a, b) => {
      const [left, right] = [NONE_LAST(value(a), this.up), NONE_LAST(value(b), this.up)];
      return left < right ? -sign : left > right ? sign : 0;
    };
    const sorted = [...this.rows].sort(order);
    const kept = this.all ? sorted : sorted.filter((row, index) => index < this.most || row.chosen || row.static);
    this.body.replaceChildren(...kept.map((row) => this.line(row)));
    this.more.hidden = this.rows.length <= this.most;
    this.more.textContent = this.all ? `Show the first ${this.most}` : `Show all ${this.rows.length}`;
  }

  line(row) {
    const kind = row.chosen ? "chosen" : row.available === false ? "away" : null;
    const cells = this.columns.map((column) =>
      el("td", { class: column.figures ? "figures" : null }, column.cell(row)),
    );
    return el("tr", { class: kind }, cells);
  }
}
