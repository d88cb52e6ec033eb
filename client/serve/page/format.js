// SPDX-License-Identifier: MIT
// Numbers and foreign texts as people read them.
"use strict";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function bytes(number) {
  let unit = 0;
  while (number >= 1024 && unit < UNITS.length - 1) {
    number /= 1024;
    unit++;
  }
  return `${unit ? number.toFixed(1) : number} ${UNITS[unit]}`;
}

function count(number) {
  return number.toLocaleString("en-US");
}

// "12 ms", "4.2 s", "3 m 07 s", "5 h 12 m", "9 d 03 h", as kmemctl prints it.
function age(ms) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const s = ms / 1000;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two((s / 60) % 60)} m`;
  return `${Math.floor(s / 86400)} d ${two((s / 3600) % 24)} h`;
}

function percent(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}

// Control characters, and those that change the direction of what follows, are made visible.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

function visible(text) {
  return text.replace(UNSEEN, (c) => {
    const code = c.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}`
                      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

// A colour for a reason: the same in every picture, for as long as the page is open. The first
// twelve that are seen are as far apart as twelve can be.
const HUES = [212, 28, 152, 268, 340, 190, 48, 300, 110, 236, 8, 172];
const hues = new Map();

function hue(text) {
  if (!hues.has(text)) hues.set(text, HUES[hues.size % HUES.length]);
  return hues.get(text);
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A line may be broken behind a level of a reason.
function foreign(text) {
  const made = element("bdi");
  visible(text).split(/(?<=\/)/).forEach((level, i) => {
    if (i > 0) made.append(element("wbr"));
    made.append(level);
  });
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function setText(id, text) {
  const at = byId(id);
  if (at.textContent !== text) at.textContent = text;
}

// A mark for a legend; without a hue it is of no reason.
function mark(name, className, ofHue) {
  const item = element("li");
  const square = element("i", className);
  if (ofHue !== undefined) square.style.setProperty("--h", ofHue);
  item.append(square, foreign(name));
  return item;
}
