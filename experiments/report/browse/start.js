// --- start -----------------------------------------------------------------------------------------------------------

for (const column of SHOWN) {
  const button = html("button", { type: "button" }, column.label);
  button.onclick = () => go({ sort: state.sort === column.key ? `-${column.key}` : column.key });
  const about = { scope: "col", "data-key": column.key, class: column.number ? "number" : "" };
  $("table").tHead.rows[0].append(html("th", about, button));
}

const choices = (name, pairs) =>
  $("filters").elements[name].append(...pairs.map(([value, text]) => html("option", { value }, text)));
for (const name of FILTERS) choices(name, (name === "method" ? METHODS : unique(name)).map(value => [value, value]));
for (const name of ["x", "y"]) choices(name, NUMERIC.map(column => [column.key, column.label]));

let waiting;
document.addEventListener("input", event => {
  const { name, type, checked, value } = event.target;
  const change = { [name]: type === "checkbox" ? `${+checked}` : value };
  clearTimeout(waiting);
  waiting = setTimeout(() => go(change), type === "search" ? 150 : 0);
});
$("filters").onsubmit = event => event.preventDefault();
$("clear").onclick = () => go({ ...DEFAULTS, sort: state.sort, x: state.x, y: state.y });
$("panel").onclick = event => { if (event.target === $("panel")) $("panel").close(); };
$("panel").onclose = () => { if (state.run) go({ run: "" }); };
$("claims").open = innerWidth > 700;
addEventListener("hashchange", show);
addEventListener("resize", () => plot(chosen()));
show();
