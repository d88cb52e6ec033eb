// SPDX-License-Identifier: MIT
// Use over time: one area for each of the largest first levels of reasons, one above the other.
"use strict";

const POINTS_MAX = 3600;
const AREAS_MAX = 6;
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Chart {
  constructor() {
    this.at = byId("chart");
    this.picture = svg("svg", {role: "img", tabindex: "0"});
    this.at.append(this.picture);
    this.table = new Table("time-table", "Use over time", "nothing seen yet", [
      {key: "ago", title: "Ago", show: age, figure: true},
      {key: "used", title: "Used", show: bytes, figure: true},
    ], "ago");
    this.table.isDescending = false;
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.choose(null));
    this.picture.addEventListener("keydown", (event) => this.key(event));
    this.picture.addEventListener("blur", () => this.choose(null));
    byId("time").querySelector("details").addEventListener("toggle", () => this.tell());
    new ResizeObserver(() => this.draw()).observe(this.at);
    this.clear();
  }

  clear() {
    this.points = [];
    this.chosen = null;
    this.draw();
  }

  // What the server remembers stands before what this page has seen.
  remember(points) {
    const first = this.points.length > 0 ? this.points[0].time : Infinity;
    this.points = [...points.filter((point) => point.time < first), ...this.points];
    this.cut();
  }

  add(point) {
    this.points.push(point);
    this.cut();
  }

  cut() {
    this.points.splice(0, Math.max(0, this.points.length - POINTS_MAX));
    this.draw();
  }

  // The first levels that were largest; all others are one area.
  areas() {
    const most = new Map();
    for (const point of this.points) {
      for (const [name, size] of Object.entries(point.parts)) {
        most.set(name, Math.max(size, most.get(name) ?? 0));
      }
    }
    return [...most].filter(([, size]) => size > 0).sort((a, b) => b[1] - a[1]).slice(0, AREAS_MAX).map(([name]) => name);
  }

  // 1, 2, 4, ... of a unit, so that lines are at round numbers.
  top() {
    const most = Math.max(1024, ...this.points.map((point) => point.used)) * 1.08;
    const step = 2 ** Math.ceil(Math.log2(most / 4));
    return {step, most: step * Math.ceil(most / step)};
  }

  draw() {
    const width = Math.max(200, this.at.clientWidth);
    const height = 200;
    this.box = {left: 66, right: width - 8, top: 8, bottom: height - 22};
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const names = this.areas();
    const parts = [];
    if (this.points.length > 0) {
      this.scale = this.top();
      parts.push(...this.lines(), ...this.shapes(names));
    }
    this.cursor = svg("line", {class: "cursor", y1: this.box.top, y2: this.box.bottom,
                               visibility: "hidden"});
    this.picture.replaceChildren(...parts, this.cursor);
    byId("chart-legend").replaceChildren(
      ...names.map((name) => mark(name, "hue", hue(name))),
      ...(this.points.some((point) => this.rest(point, names) > 0) ? [mark("all others", "grey")] : []));
    this.tell();
    this.choose(this.chosen);
  }

  x(time) {
    const last = this.points.at(-1).time;
    const first = Math.min(this.points[0].time, last - 60000);
    return this.box.left + ((time - first) / (last - first)) * (this.box.right - this.box.left);
  }

  y(size) {
    return this.box.bottom - (size / this.scale.most) * (this.box.bottom - this.box.top);
  }

  lines() {
    const made = [];
    for (let size = 0; size <= this.scale.most; size += this.scale.step) {
      const y = this.y(size);
      const text = svg("text", {x: this.box.left - 6, y: y + 4, "text-anchor": "end"});
      text.textContent = bytes(size);
      made.push(svg("line", {x1: this.box.left, x2: this.box.right, y1: y, y2: y}), text);
    }
    const begin = svg("text", {x: this.box.left, y: this.box.bottom + 16});
    const last = this.points.at(-1).time;
    begin.textContent = `${age(last - Math.min(this.points[0].time, last - 60000))} ago`;
    const end = svg("text", {x: this.box.right, y: this.box.bottom + 16, "text-anchor": "end"});
    end.textContent = "now";
    return [...made, begin, end];
  }

  rest(point, names) {
    return Math.max(0, point.used - names.reduce((sum, name) => sum + (point.parts[name] ?? 0), 0));
  }

  shapes(names) {
    const below = this.points.map(() => 0);
    const made = [];
    for (const name of [...names, null]) {
      const up = this.points.map((point, i) =>
        below[i] + (name === null ? this.rest(point, names) : point.parts[name] ?? 0));
      const at = (sizes, i) => `${this.x(this.points[i].time).toFixed(1)},${this.y(sizes[i]).toFixed(1)}`;
      const there = this.points.map((_, i) => at(up, i));
      const back = this.points.map((_, i) => at(below, i)).reverse();
      const shape = svg("path", {class: name === null ? "grey" : "hue",
                                 d: `M${there.join("L")}L${back.join("L")}Z`});
      if (name !== null) shape.style.setProperty("--h", hue(name));
      made.push(shape);
      up.forEach((size, i) => { below[i] = size; });
    }
    const edge = this.points.map((point) =>
      `${this.x(point.time).toFixed(1)},${this.y(point.used).toFixed(1)}`);
    return [...made, svg("path", {class: "edge", d: `M${edge.join("L")}`})];
  }

  // For those who do not see it.
  tell() {
    const sizes = this.points.map((point) => point.used);
    this.picture.setAttribute("aria-label", sizes.length === 0 ? "nothing seen yet"
      : `Used: ${bytes(sizes.at(-1))} now, from ${bytes(Math.min(...sizes))} to ` +
        `${bytes(Math.max(...sizes))} in the last ${age(Date.now() - this.points[0].time)}. ` +
        "Arrow keys read single moments.");
    if (!byId("time").querySelector("details").open) return;
    const every = Math.ceil(this.points.length / 60);
    this.table.show(this.points.filter((_, i) => i % every === 0)
      .map((point) => ({ago: Math.max(0, Date.now() - point.time), used: point.used})));
  }

  choose(idx) {
    this.chosen = idx;
    const point = idx === null ? undefined : this.points[idx];
    this.cursor.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) {
      setText("time-read", "");
      return;
    }
    this.cursor.setAttribute("x1", this.x(point.time));
    this.cursor.setAttribute("x2", this.x(point.time));
    const largest = Object.entries(point.parts).sort((a, b) => b[1] - a[1])[0];
    setText("time-read", `${new Date(point.time).toLocaleTimeString("en-GB")}: ${bytes(point.used)}` +
      (largest ? `, most of it ${visible(largest[0])} (${bytes(largest[1])})` : ""));
  }

  point(event) {
    if (this.points.length === 0) return;
    const box = this.picture.getBoundingClientRect();
    const x = event.clientX - box.left;
    let nearest = 0;
    this.points.forEach((point, i) => {
      if (Math.abs(this.x(point.time) - x) < Math.abs(this.x(this.points[nearest].time) - x)) nearest = i;
    });
    this.choose(nearest);
  }

  key(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined || this.points.length === 0) return;
    event.preventDefault();
    const last = this.points.length - 1;
    this.choose(Math.min(last, Math.max(0, (this.chosen ?? last) + step)));
    say(byId("time-read").textContent);
  }
}
