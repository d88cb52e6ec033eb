// SPDX-License-Identifier: MIT
// Asks /api/v1/ every two seconds while the page is seen, and shows what comes back.
"use strict";

const EVERY_MS = 2000;
const SELDOM = 3; // rounds: the map is a megabyte or two, leaks take a look at all blocks

// Restrained: what somebody has just done, and that the daemon has come or gone; no figures.
function say(text) {
  byId("says").textContent = text;
}

// Lists that an older server does not have are null: their sections stay away.
async function ask(topic, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const answer = await fetch(`api/v1/${topic}?${query}`, {signal: AbortSignal.timeout(8000)});
  if (answer.status === 404 && topic !== "segments" && topic !== "usage") return null;
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? answer.statusText);
  return said;
}

/* ---------------------------------------------------------------------------- the tables ---- */

const process = [
  {key: "pid", title: "PID", show: (pid) => (pid ? String(pid) : "?"), figure: true},
  {key: "command", title: "Command"},
];

const processOfScreen = [{...process[0], later: true}, process[1]];

const clientsTable = new Table("clients-table", "Clients", "no clients", [
  ...process,
  {key: "num_bytes", title: "Bytes", show: bytes, figure: true, share: true},
  {key: "n_blocks", title: "Blocks", show: count, figure: true},
  {key: "leased_bytes", title: "Leased", show: bytes, figure: true, later: true},
  {key: "idle_bytes", title: "Idle", show: bytes, figure: true, later: true},
  {key: "peak_used_bytes", title: "Peak", show: bytes, figure: true, later: true},
  {key: "age_ms", title: "Age", show: age, figure: true, later: true},
], "num_bytes");

const reasonsTable = new Table("reasons-table", "Reasons", "no live blocks", [
  {key: "reason", title: "Reason"},
  {key: "num_bytes", title: "Bytes", show: bytes, figure: true, share: true},
  {key: "n_blocks", title: "Blocks", show: count, figure: true},
  {key: "oldest_ms", title: "Oldest", show: age, figure: true},
], "num_bytes");

const blocksTable = new Table("blocks-table", "Blocks of a reason", "no live blocks", [
  {key: "num_bytes", title: "Bytes", show: bytes, figure: true},
  {key: "age_ms", title: "Age", show: age, figure: true},
  ...process,
  {key: "offset", title: "Offset", show: (at) => `0x${at.toString(16)}`, figure: true, later: true},
  {key: "reason", title: "Reason"},
], "num_bytes");

const holdersTable = new Table("holders-table", "Holders of shared blocks", "no shared blocks", [
  {key: "offset", title: "Block", show: (at) => `0x${at.toString(16)}`, figure: true, later: true},
  {key: "num_bytes", title: "Bytes", show: bytes, figure: true},
  {key: "kind", title: "Held by", word: true},
  ...processOfScreen,
  {key: "reason", title: "Why"},
  {key: "age_ms", title: "For", show: (ms, row) => (row.kind === "name" ? "–" : age(ms)),
   figure: true, later: true},
], "offset");
holdersTable.isDescending = false;

const leaksTable = new Table("leaks-table", "Leaks", "none that can be told yet", [
  {key: "verdict", title: "Verdict", word: true, later: true},
  {key: "reason", title: "Reason", note: "why"},
  {key: "suspect_bytes", title: "Suspected", show: bytes, figure: true},
  {key: "num_bytes", title: "Live", show: bytes, figure: true, later: true},
  {key: "oldest_ms", title: "Oldest", show: age, figure: true, later: true},
], "suspect_bytes");

const refusalsTable = new Table("refusals-table", "Refusals", "nothing was refused", [
  {key: "last_ms_ago", title: "Ago", show: age, figure: true},
  {key: "asked", title: "Asked for", word: true, later: true},
  {key: "why", title: "Why", word: true},
  {key: "n_times", title: "Times", show: count, figure: true, later: true},
  {key: "num_bytes", title: "Bytes", show: bytes, figure: true},
  ...process.map((column) => ({...column, later: true})),
  {key: "reason", title: "Reason"},
], "last_ms_ago");
refusalsTable.isDescending = false;

const obituariesTable = new Table("obituaries-table", "Clients that ended without releasing",
  "all clients that ended had released what they had", [
    {key: "ended_ms_ago", title: "Ago", show: age, figure: true},
    ...processOfScreen,
    {key: "num_bytes", title: "Bytes", show: bytes, figure: true},
    {key: "n_blocks", title: "Blocks", show: count, figure: true, later: true},
    {key: "largest", title: "Mostly"},
  ], "ended_ms_ago");
obituariesTable.isDescending = false;

/* --------------------------------------------------------------------------- the pictures ---- */

const chart = new Chart();
let leaf = null; // the reason whose blocks are shown
const treemap = new Treemap((node) => {
  leaf = node;
  byId("blocks").hidden = node === null;
  if (node) {
    say(`blocks of ${visible(node.path)}`);
    refreshBlocks();
  }
});

const segmentMap = new SegmentMap();

function part(className, size, whole, ofHue) {
  const made = element("span", className);
  made.style.width = `${whole > 0 ? (100 * size) / whole : 0}%`;
  if (ofHue !== undefined) made.style.setProperty("--h", ofHue);
  return made;
}

function showUsage(usage) {
  const s = usage.statistics;
  setText("used", bytes(s.used_bytes));
  setText("used-of", `of ${bytes(s.segment_bytes)}, ${percent(s.used_bytes, s.segment_bytes)}`);
  setText("hole", bytes(s.largest_hole_bytes));
  setText("n-clients", count(s.clients));
  setText("clients-more", `${count(s.clients_seen)} so far, ${count(s.clients_ended)} ended`);
  setText("n-blocks", count(s.blocks));
  setText("blocks-more", `${count(s.allocations)} allocated so far`);
  setText("n-refusals", count(s.refusals));
  setText("refusals-more", s.refusals > 0 ? `${count(s.refusals_no_room)} for want of room, ` +
    `${count(s.refusals_quota)} by quota` : "no allocation so far");
  setText("daemon", `segment “${visible(usage.segment_name)}”, kmemd ${usage.version}, pid ` +
    `${usage.pid}, up ${age(s.uptime_ms)}`);
  const parts = [["used", "hue", s.used_bytes, 212], ["overhead", "grey", s.overhead_bytes],
                 ["free", "none", s.free_bytes]];
  byId("bar").replaceChildren(
    ...parts.map(([, name, size, ofHue]) => part(name, size, s.segment_bytes, ofHue)));
  byId("bar").setAttribute("aria-label", parts.map(([name, , size]) =>
    `${name} ${percent(size, s.segment_bytes)}`).join(", "));
  byId("legend").replaceChildren(...parts.map(([name, className, size, ofHue]) =>
    mark(`${name} ${bytes(size)}`, className, ofHue)));
}

function showLedger(rows, usage) {
  treemap.show(rows);
  reasonsTable.show(rows);
  const parts = Object.create(null); // "constructor" may be a reason
  for (const node of treemap.tree.below.values()) parts[node.name || "(no reason)"] = node.size;
  chart.add({time: Date.now(), used: usage.statistics.used_bytes, parts});
}

function showObituaries(rows) {
  obituariesTable.show(rows.filter((row) => row.n_blocks > 0).map((row) => ({
    ...row, largest: row.reasons?.[0]?.reason ?? ""})));
}

// Sections of what this server does not have stay away.
function showIn(id, table, rows) {
  byId(id).hidden = rows === undefined;
  if (rows !== undefined) table.show(rows);
}

async function refreshBlocks() {
  const node = leaf;
  const escaped = node.path.replace(/[\\*?[\]]/g, "?");
  try {
    const said = await ask("blocks", {...ofSegment(), reason: escaped, sort: "num_bytes", top: 20});
    if (leaf !== node) return;
    setText("blocks-title", `The largest blocks of ${visible(node.path || "(no reason)")}`);
    blocksTable.show(said.blocks);
  } catch {
    // The next round says what is wrong.
  }
}

/* ------------------------------------------------------------------------------- the rounds ---- */

let segment = null;
let isPaused = false;
let timer = 0;
let nRounds = 0;
let remembers = null; // the segment whose history is in the chart

function ofSegment() {
  return segment === null ? {} : {segment};
}

function setState(state, text, trouble = "") {
  const at = byId("state");
  if (at.dataset.state !== state && at.dataset.state !== "waiting") say(trouble || text);
  at.dataset.state = state;
  setText("state", text);
  setText("trouble", trouble);
  byId("trouble").hidden = trouble === "";
}

function showSegments(rows) {
  const select = byId("segment");
  const names = rows.map((row) => row.name);
  if (names.join("\n") !== select.dataset.names) {
    select.dataset.names = names.join("\n");
    select.replaceChildren(...names.map((name) => {
      const option = element("option", "", visible(name));
      option.value = name;
      return option;
    }));
  }
  if (!names.includes(segment)) segment = names[0] ?? null;
  if (segment !== null) select.value = segment;
}

// What the server remembers of the last hour, or of its life if that is shorter: rows of a reason in
// a step of time. Its series add up to all there was.
const PAST_S = [60, 3600];
const PAST_STEPS = 360;

async function askHistory(asked, uptime_ms) {
  const past_s = Math.min(PAST_S[1], Math.max(PAST_S[0], Math.ceil(uptime_ms / 1000)));
  const steps = Math.min(PAST_STEPS, past_s);
  const said = await ask("history", {...ofSegment(), since: `${past_s}s`, steps, reason: "*"});
  if (asked !== segment) return;
  const now = Date.now();
  const points = new Map();
  for (const row of said.history) {
    const step = Math.floor((row.ms_ago * steps) / (1000 * past_s));
    const point = points.get(step) ?? {time: now - row.ms_ago, used: 0, parts: Object.create(null)};
    const level = row.reason.replace(/(?!^)\/.*/s, "") || "(no reason)";
    point.parts[level] = (point.parts[level] ?? 0) + row.num_bytes;
    point.used += row.num_bytes;
    points.set(step, point);
  }
  chart.remember([...points.values()].sort((a, b) => a.time - b.time));
}

async function askAll() {
  showSegments((await ask("segments")).segments);
  if (isPaused) return;
  if (segment === null) throw new Error("no segment of this machine is served");
  const asked = segment;
  const topics = ["usage", "ledger", "clients", "holders", "refusals", "obituaries"];
  if (nRounds++ % SELDOM === 0) topics.push("map", "leaks");
  const said = await Promise.all(topics.map((topic) => ask(topic, ofSegment())));
  if (asked !== segment || isPaused) return;
  const [usage, ledger, clients, holders, refusals, obituaries, map, leaks] = said;
  showUsage(usage);
  showLedger(ledger.ledger, usage);
  clientsTable.show(clients.clients);
  showIn("holders", holdersTable, holders?.holders);
  showIn("refusals", refusalsTable, refusals?.refusals);
  showObituaries(obituaries.obituaries);
  if (map) segmentMap.show(map.map);
  if (leaks !== undefined) showIn("leaks", leaksTable, leaks?.leaks);
  if (leaf) refreshBlocks();
  if (remembers !== asked) {
    remembers = asked;
    await askHistory(asked, usage.statistics.uptime_ms);
  }
}

async function round() {
  clearTimeout(timer);
  if (isPaused || document.hidden) return;
  try {
    await askAll();
    if (!isPaused) setState("live", "live");
  } catch (error) {
    if (!isPaused) setState("lost", "no answer", error.name === "TypeError"
      ? "kmemctl serve does not answer. The figures are the last ones that came." : error.message);
  }
  clearTimeout(timer);
  if (!isPaused && !document.hidden) timer = setTimeout(round, EVERY_MS);
}

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  setText("pause", isPaused ? "Go on" : "Pause");
  if (isPaused) setState("paused", "paused");
  else nRounds = 0; // what the last round asked for was not shown
  round();
});
byId("segment").addEventListener("change", () => {
  segment = byId("segment").value;
  chart.clear();
  nRounds = 0;
  remembers = null;
  treemap.go([]);
  round();
});
document.addEventListener("visibilitychange", round);
round();
