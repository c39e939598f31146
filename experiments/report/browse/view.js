"use strict";
// The rows, and the view of them, whose whole state stands in location.hash: filters, order, axes, the open run.
// Text of records is set as text nodes and attributes, never parsed as markup.

const $ = id => document.getElementById(id);
const maker = space => (name, attributes = {}, ...children) => {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const html = maker("http://www.w3.org/1999/xhtml"), svg = maker("http://www.w3.org/2000/svg");

const data = JSON.parse($("data").textContent);
const rows = data.rows.map((values, index) => {
  const fields = data.fields.map((field, at) => [field, values[at]]);
  return { index, ...Object.fromEntries(fields) };
});

const digits = (minimumFractionDigits, maximumFractionDigits = minimumFractionDigits) =>
  new Intl.NumberFormat("en", { minimumFractionDigits, maximumFractionDigits });
const collator = new Intl.Collator("en", { numeric: true });

// number: how it is written. log: an axis of it may be logarithmic. brief: how many characters a table shows.
// panel: shown in a run's panel alone.
const COLUMNS = [
  { key: "task", label: "Task" },
  { key: "model", label: "Model" },
  { key: "title", label: "Method" },
  { key: "score", label: "Score", number: digits(2) },
  { key: "test", label: "Test score", number: digits(2) },
  { key: "adapter", label: "Adapter parameters", number: digits(0), log: true },
  { key: "seed", label: "Seed", number: new Intl.NumberFormat("en", { useGrouping: false }) },
  { key: "scale", label: "Scale" },
  { key: "by", label: "By" },
  { key: "rank", label: "Rank of\u00a0ΔW", number: digits(0, 1) },
  { key: "minutes", label: "Training (min)", number: digits(1), log: true },
  { key: "peak", label: "Peak memory (MiB)", number: digits(0), log: true },
  { key: "device", label: "Device" },
  { key: "date", label: "Ended (UTC)", brief: 10 },
  { key: "commit", label: "Commit" },
  { key: "metric", label: "Metric", panel: true },
  { key: "measure", label: "Metric on the test set", panel: true },
  { key: "status", label: "Status", panel: true },
  { key: "error", label: "Reason", panel: true },
  { key: "epoch", label: "Best epoch", number: digits(0, 2), panel: true },
  { key: "last", label: "Score, last epoch", number: digits(2), panel: true },
  { key: "head", label: "Parameters of the head", number: digits(0), panel: true },
  { key: "total", label: "Parameters of the model", number: digits(0), panel: true },
  { key: "saved", label: "Saved for backward (MiB)", number: digits(1), panel: true },
  { key: "rate", label: "Examples a second", number: digits(1), panel: true },
  { key: "trials", label: "Trials behind its rates", number: digits(0), panel: true },
  { key: "judge", label: "Judge", panel: true },
  { key: "note", label: "Note", panel: true },
];
const SHOWN = COLUMNS.filter(column => !column.panel), NUMERIC = SHOWN.filter(column => column.number);
const numeric = key => NUMERIC.find(column => column.key === key);
const unique = key => [...new Set(rows.map(row => row[key]))].sort(collator.compare);
const OURS = "fourierft";
const METHODS = unique("method").sort((a, b) => (b === OURS) - (a === OURS));

function written(row, column) {
  const value = row[column.key];
  if (value == null) return "";
  return column.number ? column.number.format(value).replace("-", "−") : `${value}`;
}

const named = row => [row.title, row.model, row.task, row.seed == null ? "the paper" : `seed ${row.seed}`].join(", ");
for (const row of rows) row.words = [...COLUMNS.map(column => row[column.key] ?? ""), row.id].join(" ").toLowerCase();

// --- state -----------------------------------------------------------------------------------------------------------

const FILTERS = ["task", "model", "method", "scale"];
const DEFAULTS = { task: "", model: "", method: "", scale: "", text: "", paper: "1", sort: "-date" };
Object.assign(DEFAULTS, { x: "adapter", y: "score", run: "" });
let state, drawn;

function go(change, push = false) {
  const told = Object.entries({ ...state, ...change }).filter(([key, value]) => value !== DEFAULTS[key]);
  history[push ? "pushState" : "replaceState"](null, "", `#${new URLSearchParams(told)}`);
  show();
}

function show() {
  const said = new URLSearchParams(location.hash.slice(1));
  state = Object.fromEntries(Object.entries(DEFAULTS).map(([key, usual]) => [key, said.get(key) ?? usual]));
  for (const axis of ["x", "y"]) if (!numeric(state[axis])) state[axis] = DEFAULTS[axis];
  if (!SHOWN.some(column => column.key === order().key)) state.sort = DEFAULTS.sort;
  const view = JSON.stringify({ ...state, run: "" });
  if (view !== drawn) {
    drawn = view;
    for (const control of $("filters").elements)
      if (control.type === "checkbox") control.checked = state.paper === "1";
      else if (control.name && control.value !== state[control.name]) control.value = state[control.name];
    const found = chosen();
    list(found);
    plot(found);
  }
  if (state.run) open(rows.find(row => row.id === state.run));
  else if ($("panel").open) $("panel").close();
}

const order = () => ({ key: state.sort.replace(/^-/, ""), down: state.sort.startsWith("-") });

function chosen() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean), { key, down } = order();
  const compare = numeric(key) ? (a, b) => a - b : collator.compare;
  const ordered = (a, b) => (a[key] == null || b[key] == null)
    ? (a[key] == null) - (b[key] == null) // what is missing comes last, either way
    : compare(a[key], b[key]) * (down ? -1 : 1);
  return rows
    .filter(row => FILTERS.every(name => !state[name] || row[name] === state[name]))
    .filter(row => state.paper === "1" || row.by !== "paper")
    .filter(row => words.every(word => row.words.includes(word)))
    .sort((a, b) => ordered(a, b) || a.index - b.index);
}

// --- table -----------------------------------------------------------------------------------------------------------

function list(found) {
  const { key, down } = order();
  for (const head of $("table").tHead.rows[0].cells)
    head.setAttribute("aria-sort", head.dataset.key !== key ? "none" : down ? "descending" : "ascending");
  $("table").tBodies[0].replaceChildren(...found.map(row => row.line ??= line(row)));
  const runs = found.filter(row => row.by === "ours").length;
  const said = `Runs: ${runs}, rows of the paper: ${found.length - runs}.`;
  $("count").textContent = found.length ? said : "No row passes the filters.";
}

function line(row) {
  const cells = SHOWN.map(column => {
    const cell = html("td", column.number ? { class: "number" } : {});
    if (column.key === "score" && row.status) cell.append(html("b", { class: "failed" }, row.status));
    else cell.append(written(row, column).slice(0, column.brief));
    return cell;
  });
  cells[0].replaceChildren(html("button", { type: "button", "aria-label": `Open ${named(row)}` }, row.task));
  const made = html("tr", { class: row.by }, ...cells);
  made.onclick = () => go({ run: row.id }, true);
  return made;
}
