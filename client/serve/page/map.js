// SPDX-License-Identifier: MIT
// The segment as a picture: a square for each cell, from the first page on, in rows. Its colour is
// its reason, owner or age; how much of it is coloured is how much of it is in use.
"use strict";

const AGES = [[1000, "up to 1 s", 152], [10000, "up to 10 s", 172], [60000, "up to 1 m", 190],
              [600000, "up to 10 m", 212], [3600000, "up to 1 h", 268], [Infinity, "older", 340]];

class SegmentMap {
  constructor() {
    this.at = byId("map-picture");
    this.canvas = element("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.at.append(this.canvas);
    this.map = null;
    this.chosen = null;
    this.by = "reason";
    this.table = new Table("map-table", "What splits the free space", "nothing splits it", [
      {key: "offset", title: "At", show: (at) => `0x${at.toString(16)}`, figure: true},
      {key: "num_bytes", title: "Bytes", show: bytes, figure: true},
      {key: "extent_if_gone_bytes", title: "Extent if it went", show: bytes, figure: true},
      {key: "oldest_ms", title: "Oldest", show: age, figure: true, later: true},
      {key: "command", title: "Command"},
      {key: "reason", title: "Reason"},
    ], "extent_if_gone_bytes");
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.choose(null));
    this.canvas.addEventListener("blur", () => this.choose(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    byId("map-by").addEventListener("change", (event) => {
      this.by = event.target.value;
      this.draw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.at);
  }

  show(map) {
    this.map = map;
    this.table.show(map.splits);
    this.draw();
  }

  // Return: [name, hue]; null: nothing lives there.
  keyOf(cell) {
    if (cell.n_blocks === 0 && cell.live_bytes === 0) return null;
    if (this.by === "age") {
      const [, name, ofHue] = AGES.find(([limit]) => cell.oldest_ms <= limit);
      return [name, ofHue];
    }
    const name = this.by === "owner" ? `${cell.command} ${cell.pid || "?"}`
      : cell.reason.replace(/#.*/s, "").replace(/(?!^)\/.*/s, "") || "(no reason)";
    return [name, hue(this.by === "owner" ? `process ${name}` : name)];
  }

  layout() {
    const n = this.map.cells.length;
    const width = Math.max(100, this.at.clientWidth);
    const side = Math.max(5, Math.min(16, Math.floor(Math.sqrt((width * 260) / Math.max(1, n)))));
    this.columns = Math.max(1, Math.floor(width / side));
    this.side = side;
    return Math.ceil(n / this.columns) * side;
  }

  draw() {
    if (!this.map || this.map.cells.length === 0) return;
    const height = this.layout();
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.columns * this.side * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.width = `${this.columns * this.side}px`;
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.body);
    this.colours = Object.fromEntries(["--free", "--idle", "--mark-s", "--mark-l", "--ink"]
      .map((name) => [name, style.getPropertyValue(name).trim()]));
    const sizes = new Map();
    this.map.cells.forEach((cell, i) => this.drawCell(pen, cell, i, sizes));
    this.drawLegend(sizes);
    this.tell();
  }

  drawCell(pen, cell, i, sizes) {
    const x = (i % this.columns) * this.side;
    const y = Math.floor(i / this.columns) * this.side;
    const inner = this.side - 1;
    const key = this.keyOf(cell);
    const used = cell.num_bytes - cell.free_bytes - cell.idle_bytes;
    pen.fillStyle = this.colours["--free"];
    pen.fillRect(x, y, inner, inner);
    if (cell.idle_bytes > 0) {
      const part = Math.max(1, Math.round((inner * (cell.idle_bytes + used)) / cell.num_bytes));
      pen.fillStyle = this.colours["--idle"];
      pen.fillRect(x, y + inner - part, inner, part);
    }
    if (key && used > 0) {
      const part = Math.max(2, Math.round((inner * used) / cell.num_bytes));
      pen.fillStyle = `hsl(${key[1]} ${this.colours["--mark-s"]} ${this.colours["--mark-l"]})`;
      pen.fillRect(x, y + inner - part, inner, part);
      sizes.set(key[0], [key[1], (sizes.get(key[0])?.[1] ?? 0) + used]);
    }
    if (i === this.chosen) {
      pen.strokeStyle = this.colours["--ink"];
      pen.lineWidth = 2;
      pen.strokeRect(x + 1, y + 1, inner - 2, inner - 2);
    }
  }

  drawLegend(sizes) {
    const largest = [...sizes].sort((a, b) => b[1][1] - a[1][1]).slice(0, 10);
    byId("map-legend").replaceChildren(
      ...largest.map(([name, [ofHue, size]]) => mark(`${name} ${bytes(size)}`, "hue", ofHue)),
      mark("leased, in no use", "grey"), mark("free", "none"));
  }

  whole() {
    const map = this.map;
    return `${bytes(map.can_be_had_bytes)} can be had, in ${count(map.n_extents)} ` +
      `${map.n_extents === 1 ? "piece" : "pieces"}; the largest is ${bytes(map.largest_extent_bytes)}`;
  }

  tell() {
    const cell = this.map.cells[this.chosen];
    const text = cell ? this.describe(cell) : this.whole();
    setText("map-read", text);
    this.canvas.setAttribute("aria-label", `Map of the segment: ${this.whole()}. ` +
      "Arrow keys read single cells.");
  }

  describe(cell) {
    const used = cell.num_bytes - cell.free_bytes - cell.idle_bytes;
    const where = `0x${cell.offset.toString(16)}: ${percent(used, cell.num_bytes)} of ` +
      `${bytes(cell.num_bytes)} in use`;
    return cell.n_blocks === 0 && cell.live_bytes === 0 ? where
      : `${where}, ${count(cell.n_blocks)} blocks, most of it ${visible(cell.reason)} of ` +
        `${visible(cell.command || "names")} ${cell.pid || ""}, oldest ${age(cell.oldest_ms)}`;
  }

  choose(idx) {
    if (!this.map || idx === this.chosen) return;
    this.chosen = idx;
    this.draw();
  }

  point(event) {
    if (!this.map) return;
    const box = this.canvas.getBoundingClientRect();
    const idx = Math.floor((event.clientY - box.top) / this.side) * this.columns +
      Math.floor((event.clientX - box.left) / this.side);
    this.choose(idx >= 0 && idx < this.map.cells.length ? idx : null);
  }

  key(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
                  Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined || !this.map) return;
    event.preventDefault();
    const last = this.map.cells.length - 1;
    this.choose(Math.min(last, Math.max(0, (this.chosen ?? (step > 0 ? -step : 0)) + step)));
    say(byId("map-read").textContent);
  }
}
