// SPDX-License-Identifier: MIT
// Reasons as areas: a level at a time, the largest first. A reason that has levels below opens to
// them; one that has none shows its blocks.
"use strict";

const TILES_MAX = 60;

// Folds the ledger's rows into a tree: "video/capture" is "capture" below "video". What is a
// reason by itself and has others below it is a leaf among them.
function treeOf(rows) {
  const root = {name: "", path: "", size: 0, blocks: 0, oldest: 0, below: new Map()};
  for (const row of rows) {
    let node = root;
    const levels = row.reason.split(/(?<!^)\//);
    const path = [];
    addTo(node, row);
    for (const level of levels) {
      path.push(level);
      if (!node.below.has(level)) {
        node.below.set(level, {name: level, path: path.join("/"), size: 0, blocks: 0, oldest: 0,
                               below: new Map()});
      }
      node = node.below.get(level);
      addTo(node, row);
    }
    node.own = {size: row.num_bytes, blocks: row.n_blocks, oldest: row.oldest_ms};
  }
  return root;
}

function nameOf(node) {
  return node.path === "" ? "(no reason)" : node.name || "(empty)";
}

function addTo(node, row) {
  node.size += row.num_bytes;
  node.blocks += row.n_blocks;
  node.oldest = Math.max(node.oldest, row.oldest_ms);
}

// Squarified: rows of tiles along the shorter side, each as near to a square as it can be.
function squarify(sizes, box) {
  const placed = [];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const scale = total > 0 ? (box.width * box.height) / total : 0;
  let {x, y, width, height} = box;
  let at = 0;
  while (at < sizes.length) {
    const side = Math.max(1e-9, Math.min(width, height));
    let n = 1;
    let area = sizes[at] * scale;
    let worst = worstOf(sizes, at, n, area, side, scale);
    while (at + n < sizes.length) {
      const next = area + sizes[at + n] * scale;
      const worse = worstOf(sizes, at, n + 1, next, side, scale);
      if (worse > worst) break;
      worst = worse;
      area = next;
      n++;
    }
    const depth = area / side;
    let along = 0;
    for (let i = at; i < at + n; i++) {
      const extent = depth > 0 ? (sizes[i] * scale) / depth : 0;
      placed.push(width >= height ? {x, y: y + along, width: depth, height: extent}
                                  : {x: x + along, y, width: extent, height: depth});
      along += extent;
    }
    if (width >= height) {
      x += depth;
      width -= depth;
    } else {
      y += depth;
      height -= depth;
    }
    at += n;
  }
  return placed;
}

function worstOf(sizes, at, n, area, side, scale) {
  const largest = sizes[at] * scale;
  const least = sizes[at + n - 1] * scale;
  const square = (side * side) / (area * area);
  return Math.max(square * largest, 1 / Math.max(1e-12, square * least));
}

class Treemap {
  constructor(onLeaf) {
    this.at = byId("treemap");
    this.crumbs = byId("crumbs");
    this.onLeaf = onLeaf;
    this.tree = treeOf([]);
    this.level = []; // names from the root on
    this.tiles = new Map();
    this.none = element("p", "", "no live blocks");
    this.at.append(this.none);
    this.at.addEventListener("keydown", (event) => {
      if (event.key === "Backspace" && this.level.length > 0) {
        event.preventDefault();
        this.go(this.level.slice(0, -1));
      }
    });
    new ResizeObserver(() => this.draw()).observe(this.at);
  }

  show(rows) {
    this.tree = treeOf(rows);
    this.draw();
  }

  node() {
    let node = this.tree;
    for (const name of this.level) node = node?.below.get(name);
    return node;
  }

  // The tiles of this level: what is below it, and what has this very reason.
  entries() {
    const node = this.node();
    const list = node ? [...node.below.values()].map((below) => ({
      key: `/${below.name}`, name: nameOf(below), size: below.size,
      blocks: below.blocks, opens: below.below.size > 0, node: below})) : [];
    if (node?.own && node.below.size > 0) {
      list.push({key: "=", name: `${node.name} itself`, size: node.own.size,
                 blocks: node.own.blocks, opens: false, node});
    }
    list.sort((a, b) => b.size - a.size || (a.key < b.key ? -1 : 1));
    return this.bounded(list);
  }

  bounded(list) {
    const rest = list.slice(TILES_MAX);
    if (rest.length === 0) return list;
    return [...list.slice(0, TILES_MAX), {
      key: "+", name: `${count(rest.length)} more`, opens: false, node: null,
      size: rest.reduce((sum, entry) => sum + entry.size, 0),
      blocks: rest.reduce((sum, entry) => sum + entry.blocks, 0)}];
  }

  go(level) {
    const hadFocus = this.at.contains(document.activeElement) ||
      this.crumbs.contains(document.activeElement);
    this.level = level;
    this.onLeaf(null);
    this.draw();
    const node = this.node();
    if (hadFocus) (this.at.querySelector("button") ?? this.crumbs.querySelector("button"))?.focus();
    if (node) {
      say(`${level.length > 0 ? visible(level.join("/")) : "all reasons"}: ${bytes(node.size)} in ` +
          `${count(node.blocks)} blocks`);
    }
  }

  open(entry) {
    if (entry.opens) this.go([...this.level, entry.node.name]);
    else if (entry.node) this.onLeaf(entry.node);
  }

  hueOf(entry) {
    return hue(this.level.length === 0 ? entry.name : `${this.level.join("/")}/${entry.name}`);
  }

  tile(entry) {
    let tile = this.tiles.get(entry.key);
    if (!tile) {
      tile = element("button");
      tile.type = "button";
      tile.append(element("span", "name"), element("span", "size"), element("span", "inside"));
      tile.firstChild.append(element("bdi"));
      tile.lastChild.setAttribute("aria-hidden", "true");
      tile.addEventListener("click", () => this.open(tile.entry));
      this.tiles.set(entry.key, tile);
    }
    tile.entry = entry;
    return tile;
  }

  place(tile, entry, box, whole) {
    const style = tile.style;
    style.left = `${box.x}px`;
    style.top = `${box.y}px`;
    style.width = `${Math.max(0, box.width)}px`;
    style.height = `${Math.max(0, box.height)}px`;
    style.setProperty("--h", this.hueOf(entry));
    tile.className = box.width < 46 || box.height < 24 ? "tiny" : box.height < 46 ? "small" : "";
    const name = visible(entry.name) + (entry.opens ? " /" : "");
    const size = `${bytes(entry.size)} · ${percent(entry.size, whole)}`;
    tile.firstChild.firstChild.textContent = name;
    tile.children[1].textContent = box.width < 130 ? bytes(entry.size) : size;
    this.drawInside(tile.lastChild, entry, box);
    tile.title = `${name}\n${bytes(entry.size)} in ${count(entry.blocks)} blocks`;
    tile.setAttribute("aria-label", `${name}: ${bytes(entry.size)}, ${percent(entry.size, whole)}, ` +
      `${count(entry.blocks)} blocks${entry.opens ? ", opens" : entry.node ? ", shows its blocks" : ""}`);
  }

  // What it opens to, as a foretaste, where there is room for it.
  drawInside(inside, entry, box) {
    const within = {x: 0, y: 0, width: box.width - 18, height: box.height - 56};
    const nodes = entry.opens && within.width > 90 && within.height > 40
      ? [...entry.node.below.values()].sort((a, b) => b.size - a.size).slice(0, TILES_MAX) : [];
    const own = entry.node?.own?.size ?? 0;
    const sizes = nodes.map((node) => node.size);
    const boxes = squarify(own > 0 && nodes.length > 0 ? [...sizes, own] : sizes, within);
    inside.replaceChildren(...nodes.map((node, i) => {
      const at = boxes[i];
      const made = element("span");
      made.style.left = `${at.x}px`;
      made.style.top = `${at.y}px`;
      made.style.width = `${Math.max(0, at.width - 2)}px`;
      made.style.height = `${Math.max(0, at.height - 2)}px`;
      if (at.width > 40 && at.height > 18) made.append(foreign(nameOf(node)));
      return made;
    }));
  }

  draw() {
    const entries = this.entries();
    const box = {x: 0, y: 0, width: this.at.clientWidth, height: this.at.clientHeight};
    const boxes = squarify(entries.map((entry) => entry.size), box);
    const whole = this.tree.size;
    const drawn = new Set();
    let before = this.none;
    entries.forEach((entry, i) => {
      const tile = this.tile(entry);
      this.place(tile, entry, boxes[i], whole);
      // Only what is out of its order is moved: moving takes the focus away.
      if (before.nextSibling !== tile) before.after(tile);
      before = tile;
      drawn.add(entry.key);
    });
    for (const [key, tile] of this.tiles) {
      if (!drawn.has(key)) {
        tile.remove();
        this.tiles.delete(key);
      }
    }
    this.none.hidden = entries.length > 0;
    this.none.textContent = this.level.length > 0 ? "no live blocks of this reason any more"
      : "no live blocks";
    this.drawCrumbs();
  }

  drawCrumbs() {
    const names = ["all reasons", ...this.level];
    const said = JSON.stringify(names);
    if (this.crumbs.dataset.said === said) return;
    this.crumbs.dataset.said = said;
    this.crumbs.replaceChildren(...names.map((name, i) => {
      const crumb = element("button", "", visible(name));
      crumb.type = "button";
      if (i === names.length - 1) crumb.setAttribute("aria-current", "true");
      else crumb.addEventListener("click", () => this.go(this.level.slice(0, i)));
      return crumb;
    }));
  }
}
