// --- the panel of one row --------------------------------------------------------------------------------------------

function open(row) {
  const panel = $("panel"), close = html("button", { type: "button", class: "close" }, "Close");
  close.onclick = () => panel.close();
  const none = [title("No such run"), html("p", {}, `This page has no ${state.run}.`)];
  panel.replaceChildren(close, ...row ? about(row) : none);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
}

const title = text => html("h2", { id: "panel-title" }, text);

function about(row) {
  const link = html("a", { href: row.id }, row.by === "paper" ? "The paper's rows" : "Its record");
  const facts = COLUMNS.filter(column => row[column.key] != null).flatMap(column => [
    html("dt", {}, column.label),
    html("dd", {}, written(row, column)),
  ]);
  const parts = [title(named(row)), html("p", {}, link), html("dl", {}, ...facts)];
  const charts = [...row.curves ? curves(row.curves) : [], ...row.ranks ? [ranks(row.ranks)] : []];
  parts.push(html("div", { class: "charts" }, ...charts));
  if (row.printed) parts.push(...table("As printed", ["Score", "Value"], Object.entries(row.printed)));
  if (row.tests) {
    const lines = Object.entries(row.tests).map(([name, both]) => [name, ...both.map(value => value ?? "")]);
    parts.push(...table("On the test set", ["Metric", "Best epoch", "Last epoch"], lines));
  }
  if (row.config) {
    const config = Object.entries(row.config).flatMap(([name, number]) => flat(data.parts[number], name));
    parts.push(html("h3", {}, "Configuration"), html("pre", { tabindex: 0 }, config.join("\n")));
  }
  return parts;
}

// A value of the configuration as lines of dotted keys, as the command line has them.
function flat(value, path) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [`${path}: ${JSON.stringify(value)}`];
  return Object.entries(value).flatMap(([name, inner]) => flat(inner, `${path}.${name}`));
}

function table(caption, header, lines) {
  const head = html("tr", {}, ...header.map(name => html("th", { scope: "col" }, name)));
  const body = lines.map(cells => html("tr", {}, ...cells.map(cell => html("td", {}, `${cell}`))));
  return [html("h3", {}, caption), html("table", {}, html("thead", {}, head), html("tbody", {}, ...body))];
}

function curves({ epoch, ...found }) {
  const points = name => epoch.map((at, index) => [at, found[name][index], `epoch ${at}: ${found[name][index]}`]);
  const isLoss = name => name.endsWith("loss"), every = Object.keys(found);
  return [every.filter(isLoss), every.filter(name => !isLoss(name))].filter(own => own.length).map(own =>
    chart(`${own.join(" and ")}, by epoch`, Object.fromEntries(own.map(name => [name, points(name)])), "epoch", true));
}

function ranks({ names, ...found }) {
  const point = (value, index) => [index + 1, value, `${data.parts[names][index]}: ${value}`];
  const series = Object.entries(found).map(([kind, values]) => [`${kind} rank`, values.map(point)]);
  return chart("Rank of ΔW, matrix by matrix", Object.fromEntries(series), "matrix, in the order of the model", false);
}
