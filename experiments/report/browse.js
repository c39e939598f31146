"use strict";
// The whole state of the view stands in location.hash: filters, order, axes, the open run. Text comes from records: it is
// set as text nodes and attributes, never parsed as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows.map((values, index) => ({ index, ...Object.fromEntries(data.fields.map((field, at) => [field, values[at]])) }));
const digits = (least, most = least) => new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const collator = new Intl.Collator("en", { numeric: true });

// number: how it is written. log: an axis of it may be logarithmic. brief: how many characters a table shows. panel: shown
// in a run's panel alone.
const COLUMNS = [
  { key: "task", label: "Task" },
  { key: "model", label: "Model" },
  { key: "title", label: "Method" },
  { key: "by", label: "By" },
  { key: "scale", label: "Scale" },
  { key: "seed", label: "Seed", number: new Intl.NumberFormat("en", { useGrouping: false }) },
  { key: "adapter", label: "Adapter parameters", number: digits(0), log: true },
  { key: "score", label: "Score", number: digits(2) },
  { key: "test", label: "Test score", number: digits(2) },
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
const SHOWN = COLUMNS.filter(column => !column.panel);
const NUMERIC = SHOWN.filter(column => column.number);
const columnOf = key => NUMERIC.find(column => column.key === key);
const FILTERS = ["task", "model", "method", "scale"];
const DEFAULTS = { task: "", model: "", method: "", scale: "", text: "", paper: "1", sort: "-date", x: "adapter", y: "score", run: "" };
const unique = key => [...new Set(rows.map(row => row[key]))].sort(collator.compare);
const OURS = "fourierft";
const METHODS = unique("method").sort((a, b) => (b === OURS) - (a === OURS));
const SHAPES = ["M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z", "M-4-4h8v8h-8z", "M0-5 5 4h-10z", "M0-5.5 5.5 0 0 5.5-5.5 0z", "M0 5 5-4h-10z", "M-5 0 4-5v10z", "M5 0-4-5v10z"];

const $ = id => document.getElementById(id);
const maker = space => (name, attributes = {}, ...children) => {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const html = maker("http://www.w3.org/1999/xhtml"), svg = maker("http://www.w3.org/2000/svg");
const written = (row, column) => row[column.key] == null ? "" : column.number ? column.number.format(row[column.key]).replace("-", "−") : `${row[column.key]}`;
const named = row => [row.title, row.model, row.task, row.seed == null ? "the paper" : `seed ${row.seed}`].join(", ");
for (const row of rows) row.words = [...COLUMNS.map(column => row[column.key] ?? ""), row.id].join(" ").toLowerCase();

// --- state -----------------------------------------------------------------------------------------------------------

let state, drawn;

function go(change, push = false) {
  const next = { ...state, ...change };
  const query = new URLSearchParams(Object.entries(next).filter(([key, value]) => value !== DEFAULTS[key]));
  history[push ? "pushState" : "replaceState"](null, "", `#${query}`);
  show();
}

function show() {
  const said = new URLSearchParams(location.hash.slice(1));
  state = Object.fromEntries(Object.entries(DEFAULTS).map(([key, usual]) => [key, said.get(key) ?? usual]));
  for (const axis of ["x", "y"]) if (!columnOf(state[axis])) state[axis] = DEFAULTS[axis];
  if (!SHOWN.some(column => column.key === state.sort.replace(/^-/, ""))) state.sort = DEFAULTS.sort;
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

function chosen() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const key = state.sort.replace(/^-/, ""), sign = state.sort.startsWith("-") ? -1 : 1;
  const compare = columnOf(key) ? (a, b) => a - b : collator.compare;
  return rows
    .filter(row => FILTERS.every(name => !state[name] || row[name] === state[name]))
    .filter(row => (state.paper === "1" || row.by !== "paper") && words.every(word => row.words.includes(word)))
    .sort((a, b) => (a[key] == null) - (b[key] == null) || (a[key] == null ? 0 : sign * compare(a[key], b[key])) || a.index - b.index);
}

// --- table -----------------------------------------------------------------------------------------------------------

function list(found) {
  for (const head of $("table").tHead.rows[0].cells) {
    const at = state.sort.replace(/^-/, "") === head.dataset.key;
    head.setAttribute("aria-sort", !at ? "none" : state.sort.startsWith("-") ? "descending" : "ascending");
  }
  $("table").tBodies[0].replaceChildren(...found.map(row => row.line ??= line(row)));
  const runs = found.filter(row => row.by === "ours").length;
  $("count").textContent = found.length ? `Runs: ${runs}, rows of the paper: ${found.length - runs}.` : "No row passes the filters.";
}

function line(row) {
  const cells = SHOWN.map(column => {
    const failed = column.key === "score" && row.status;
    return html("td", column.number ? { class: "number" } : {}, failed ? html("b", { class: "failed" }, row.status) : written(row, column).slice(0, column.brief));
  });
  cells[0].replaceChildren(html("button", { type: "button", "aria-label": `Open ${named(row)}` }, row.task));
  const made = html("tr", { class: row.by }, ...cells);
  made.onclick = () => go({ run: row.id }, true);
  return made;
}

// --- drawing ---------------------------------------------------------------------------------------------------------

// Where values lie between two ends in pixels, and ticks there. log: logarithmic beyond two decades, with zero beside it.
// whole: values that are counted have no ticks between them.
function axis(values, from, to, { log = false, whole = false } = {}) {
  let low = Math.min(...values), high = Math.max(...values);
  const least = Math.min(...values.filter(value => value > 0));
  if (log && low >= 0 && high > 100 * least) {
    const zero = low === 0 ? 0.08 * (to - from) : 0;
    const span = Math.log(high / least) * 1.06 || 1;
    const at = value => value > 0 ? from + zero + (to - from - zero) * (0.03 + Math.log(value / least) / span) : from + zero * 0.3;
    const ticks = low === 0 ? [0] : [];
    for (let power = Math.ceil(Math.log10(least)); 10 ** power <= high; power++) ticks.push(10 ** power);
    return { at, ticks };
  }
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  [low, high] = [low - pad, high + pad];
  const power = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = Math.max([1, 2, 5, 10].map(times => times * power).find(size => (high - low) / size <= 6), whole ? 1 : 0);
  const ticks = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) ticks.push(count * step + 0);
  return { at: value => from + (to - from) * (value - low) / (high - low), ticks };
}

const LEFT = 50;

function frame(width, height, x, y, labels, about) {
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: about.role, "aria-label": about.label });
  for (const tick of y.ticks) {
    drawing.append(svg("path", { class: "grid", d: `M${LEFT} ${y.at(tick)}H${width - 8}` }));
    drawing.append(svg("text", { x: LEFT - 4, y: y.at(tick) + 4, "text-anchor": "end" }, compact.format(tick)));
  }
  for (const tick of x.ticks) {
    drawing.append(svg("path", { class: "grid", d: `M${x.at(tick)} 18V${height - 36}` }));
    drawing.append(svg("text", { x: x.at(tick), y: height - 22, "text-anchor": "middle" }, compact.format(tick)));
  }
  drawing.append(svg("text", { x: 4, y: 12 }, labels.y), svg("text", { x: width - 8, y: height - 5, "text-anchor": "end" }, labels.x));
  return drawing;
}

// The first has a colour and a shape of its own; of the others no two among 36 share both.
const colour = index => `c${index && 1 + (index - 1) % 6}`;
const shape = index => SHAPES[index && 1 + (index - 1 + Math.floor((index - 1) / 6)) % 6];
const sign = (index, attributes = {}) => svg("path", { d: shape(index), ...attributes, class: `point ${colour(index)} ${attributes.class ?? ""}` });

function plot(found) {
  const x = columnOf(state.x), y = columnOf(state.y), holder = $("plot");
  const points = found.filter(row => row[x.key] != null && row[y.key] != null).sort((a, b) => a[x.key] - b[x.key]);
  const there = METHODS.filter(method => points.some(row => row.method === method));
  $("legend").replaceChildren(...there.map(method => html("span", {}, svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" }, sign(METHODS.indexOf(method))), method)));
  if (!points.length) {
    $("front").textContent = "";
    return holder.replaceChildren(html("p", {}, `No row here has both ${x.label} and ${y.label}.`));
  }
  const width = Math.max(300, holder.clientWidth), height = width < 600 ? 300 : 380;
  const across = axis(points.map(row => row[x.key]), LEFT, width - 8, x), up = axis(points.map(row => row[y.key]), height - 36, 18, y);
  const metrics = new Set(points.map(row => row[{ score: "metric", test: "measure" }[y.key]]).filter(Boolean));
  const label = metrics.size === 1 ? `${y.label} (${[...metrics]})` : y.label;
  const drawing = frame(width, height, across, up, { x: x.label, y: label }, { role: "group", label: `${y.label} by ${x.label}, ${points.length} points; arrow keys go from one to the next` });
  const place = row => [across.at(row[x.key]), up.at(row[y.key])];
  const better = row => row.falls?.includes(y.key) ? -row[y.key] : row[y.key];

  // Scores of several tasks or scales do not compare: only one of each has a front.
  const several = ["task", "scale"].find(key => new Set(points.map(row => row[key])).size > 1);
  const front = [];
  if (!several) for (const row of points) {
    const last = front.at(-1);
    if (last && better(row) <= better(last)) continue;
    if (last && last[x.key] === row[x.key]) front.pop();
    front.push(row);
  }
  $("front").textContent = several ? `A front needs one ${several}: choose it above.` : `Line: the front, from low ${x.label} to ${points[0].falls?.includes(y.key) ? "low" : "high"} ${y.label}.`;
  if (front.length) {
    const steps = front.map(row => place(row)).map(([left, top], at) => at ? `H${left}V${top}` : `M${left} ${top}`);
    drawing.append(svg("path", { class: "front", d: `${steps.join("")}H${width - 8}` }));
  }

  const note = html("div", { class: "note", role: "status" });
  const marks = points.map((row, at) => {
    const mark = sign(METHODS.indexOf(row.method), { class: row.by, transform: `translate(${place(row)})`, tabindex: at ? -1 : 0, role: "button", "aria-label": `${named(row)}: ${x.label} ${written(row, x)}, ${y.label} ${written(row, y)}` });
    mark.onclick = () => go({ run: row.id }, true);
    mark.onmouseenter = mark.onfocus = () => {
      const [left, top] = place(row);
      note.textContent = mark.getAttribute("aria-label");
      note.style.cssText = `top:${top + 10}px;${left < width / 2 ? `left:${left}px` : `right:${width - left}px`}`;
    };
    mark.onmouseleave = mark.onblur = () => { note.textContent = ""; };
    mark.onkeydown = event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); mark.onclick(); }
      const next = marks[at + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
      if (next) { event.preventDefault(); mark.tabIndex = -1; next.tabIndex = 0; next.focus(); }
    };
    return mark;
  });
  drawing.append(...marks, ...names(points, front, better, place, width));
  holder.replaceChildren(drawing, note);
}

// The name of FourierFT at its best point, then those of the front, where there is room.
function names(points, front, better, place, width) {
  const ours = points.filter(row => row.method === OURS).sort((a, b) => better(b) - better(a))[0];
  const taken = [], made = [];
  for (const row of [...(ours ? [ours] : []), ...front.filter(row => row.method !== OURS)]) {
    const [left, top] = place(row), text = row.method === OURS ? "FourierFT" : row.method, wide = 7 * text.length;
    const spots = [[left + 8, top - 5], [left + 8, top + 14], [left - 8 - wide, top - 5], [left - 8 - wide, top + 14]];
    const free = ([x, y]) => x > LEFT && x + wide < width && !taken.some(([a, b, w]) => x < a + w && a < x + wide && Math.abs(y - b) < 13);
    const [x, y] = spots.find(free) ?? (row === ours ? spots[0] : []);
    if (x == null || row !== ours && taken.some(([, , , name]) => name === text)) continue;
    taken.push([x, y, wide, text]);
    made.push(svg("text", { x, y, class: `name ${colour(METHODS.indexOf(row.method))}` }, text));
  }
  return made;
}

// A small chart in a panel. series: name -> [[x, y, title of the point]].
function chart(title, series, label, joined) {
  const every = Object.values(series).flat();
  const x = axis(every.map(point => point[0]), LEFT, 420, { whole: true }), y = axis(every.map(point => point[1]), 164, 18);
  const drawing = frame(428, 200, x, y, { x: label, y: "" }, { role: "img", label: `${title}: ${Object.entries(series).map(([name, points]) => `${name} from ${points[0][1]} to ${points.at(-1)[1]}`).join("; ")}` });
  Object.values(series).forEach((points, index) => {
    if (joined) drawing.append(svg("path", { class: `curve ${colour(index)}`, d: `M${points.map(([a, b]) => `${x.at(a)} ${y.at(b)}`).join("L")}` }));
    for (const [a, b, name] of points) drawing.append(svg("g", { transform: `translate(${x.at(a)} ${y.at(b)}) scale(0.7)` }, sign(index), svg("title", {}, name)));
  });
  if (Object.keys(series).length === 1) return html("figure", {}, html("h3", {}, title), drawing);
  const legend = Object.keys(series).map((name, index) => html("span", {}, svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" }, sign(index)), name));
  return html("figure", {}, html("h3", {}, title), drawing, html("figcaption", {}, ...legend));
}

// --- the panel of one run --------------------------------------------------------------------------------------------

const flat = (value, path) => value && typeof value === "object" && !Array.isArray(value) ? Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? `${path}.${key}` : key)) : [`${path}: ${JSON.stringify(value)}`];
const table = (header, lines) => html("table", {}, html("thead", {}, html("tr", {}, ...header.map(name => html("th", { scope: "col" }, name)))), html("tbody", {}, ...lines.map(cells => html("tr", {}, ...cells.map(cell => html("td", {}, cell))))));

function open(row) {
  const close = html("button", { type: "button", class: "close" }, "Close"), parts = [];
  close.onclick = () => $("panel").close();
  if (row) {
    parts.push(html("h2", { id: "panel-title" }, named(row)), html("p", {}, html("a", { href: row.id }, row.by === "paper" ? "The paper's rows" : "Its record")));
    const facts = COLUMNS.filter(column => row[column.key] != null).map(column => [html("dt", {}, column.label), html("dd", {}, written(row, column))]);
    parts.push(html("dl", {}, ...facts.flat()));
    parts.push(html("div", { class: "charts" }, ...row.curves ? curves(row.curves) : [], ...row.ranks ? [ranks(row.ranks)] : []));
    if (row.printed) parts.push(html("h3", {}, "As printed"), table(["Score", "Value"], Object.entries(row.printed)));
    if (row.tests) parts.push(html("h3", {}, "On the test set"), table(["Metric", "Best epoch", "Last epoch"], Object.entries(row.tests).map(([name, both]) => [name, ...both.map(value => `${value}`)])));
    if (row.config) {
      const config = Object.fromEntries(Object.entries(row.config).map(([key, number]) => [key, data.parts[number]]));
      parts.push(html("h3", {}, "Configuration"), html("pre", { tabindex: 0 }, flat(config, "").join("\n")));
    }
  } else parts.push(html("h2", { id: "panel-title" }, "No such run"), html("p", {}, `This page has no ${state.run}.`));
  $("panel").replaceChildren(close, ...parts);
  if (!$("panel").open) $("panel").showModal();
  $("panel").scrollTop = 0;
}

function curves({ epoch, ...found }) {
  const points = name => epoch.map((at, index) => [at, found[name][index], `epoch ${at}: ${found[name][index]}`]);
  const losses = Object.keys(found).filter(name => name.endsWith("loss")), others = Object.keys(found).filter(name => !losses.includes(name));
  return [losses, others].filter(own => own.length).map(own => chart(`${own.join(" and ")}, by epoch`, Object.fromEntries(own.map(name => [name, points(name)])), "epoch", true));
}

function ranks({ names, ...found }) {
  const series = Object.entries(found).map(([kind, values]) => [`${kind} rank`, values.map((value, index) => [index + 1, value, `${data.parts[names][index]}: ${value}`])]);
  return chart("Rank of ΔW, matrix by matrix", Object.fromEntries(series), "matrix, in the order of the model", false);
}

// --- start -----------------------------------------------------------------------------------------------------------

for (const column of SHOWN) {
  const button = html("button", { type: "button" }, column.label);
  button.onclick = () => go({ sort: state.sort === column.key ? `-${column.key}` : column.key });
  $("table").tHead.rows[0].append(html("th", { scope: "col", "data-key": column.key, class: column.number ? "number" : "" }, button));
}
const controls = $("filters").elements;
for (const key of FILTERS) controls[key].append(...(key === "method" ? METHODS : unique(key)).map(value => html("option", { value }, value)));
for (const key of ["x", "y"]) controls[key].append(...NUMERIC.map(column => html("option", { value: column.key }, column.label)));
let waiting;
document.addEventListener("input", event => {
  const { name, type, checked, value } = event.target;
  clearTimeout(waiting);
  waiting = setTimeout(() => go({ [name]: type === "checkbox" ? (checked ? "1" : "0") : value }), type === "search" ? 150 : 0);
});
$("filters").onsubmit = event => event.preventDefault();
$("clear").onclick = () => go({ ...DEFAULTS, sort: state.sort, x: state.x, y: state.y });
$("panel").onclick = event => { if (event.target === $("panel")) $("panel").close(); };
$("panel").onclose = () => { if (state.run) go({ run: "" }); };
$("claims").open = innerWidth > 700;
addEventListener("hashchange", show);
addEventListener("resize", () => plot(chosen()));
show();
