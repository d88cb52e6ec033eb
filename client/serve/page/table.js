// SPDX-License-Identifier: MIT
// A table of rows: titles that sort, figures to the right, foreign texts as texts.
//
// A column: {key, title, show(value, row), figure, share: of this maximum, note: the key of a sentence
// that stands below, word: in one line, later: not on a phone}.
"use strict";

class Table {
  constructor(id, caption, empty, columns, sort) {
    this.at = byId(id);
    this.columns = columns;
    this.empty = empty;
    this.sort = sort;
    this.isDescending = true;
    this.rows = [];
    this.at.tabIndex = 0;
    this.at.setAttribute("role", "region");
    this.at.setAttribute("aria-label", caption);
    this.table = element("table");
    this.table.append(element("caption", "hidden-text", caption));
    this.body = element("tbody");
    this.none = element("p", "empty", empty);
    this.makeHead();
    this.table.append(this.body);
    this.at.append(this.table, this.none);
    this.show([]);
  }

  makeHead() {
    const row = element("tr");
    this.heads = this.columns.map((column) => {
      const head = element("th", this.classOf(column));
      const button = element("button", "", column.title);
      head.scope = "col";
      button.type = "button";
      button.addEventListener("click", () => this.sortBy(column));
      head.append(button);
      row.append(head);
      return head;
    });
    const top = element("thead");
    top.append(row);
    this.table.append(top);
  }

  classOf(column) {
    return `${column.figure ? "figure" : column.word ? "word" : "text"}${column.later ? " later" : ""}`;
  }

  sortBy(column) {
    this.isDescending = this.sort === column.key ? !this.isDescending : Boolean(column.figure);
    this.sort = column.key;
    this.show(this.rows);
  }

  compare(left, right) {
    const a = left[this.sort];
    const b = right[this.sort];
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return this.isDescending ? -order : order;
  }

  cell(column, row, most) {
    const made = element("td", this.classOf(column));
    const value = row[column.key];
    if (column.show) made.textContent = column.show(value, row);
    else made.append(foreign(String(value)));
    if (column.note) made.append(element("p", "dim", visible(row[column.note])));
    if (column.share) {
      const line = element("span", "share");
      line.style.width = `${most > 0 ? (100 * value) / most : 0}%`;
      made.append(line);
    }
    return made;
  }

  show(rows) {
    this.rows = rows;
    const sorted = this.sort ? [...rows].sort((a, b) => this.compare(a, b)) : rows;
    const most = {};
    for (const column of this.columns) {
      if (column.share) most[column.key] = Math.max(0, ...rows.map((row) => row[column.key]));
    }
    this.body.replaceChildren(...sorted.map((row) => {
      const line = element("tr");
      line.append(...this.columns.map((column) => this.cell(column, row, most[column.key])));
      return line;
    }));
    this.columns.forEach((column, i) => {
      this.heads[i].setAttribute("aria-sort", column.key !== this.sort ? "none"
        : this.isDescending ? "descending" : "ascending");
    });
    this.table.hidden = rows.length === 0;
    this.none.hidden = rows.length > 0;
  }
}
