// --- charts ----------------------------------------------------------------------------------------------------------

const LEFT = 50; // pixels for the numbers of an axis
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const SHAPES = [
  "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
  "M-4-4h8v8h-8z",
  "M0-5 5 4h-10z",
  "M0-5.5 5.5 0 0 5.5-5.5 0z",
  "M0 5 5-4h-10z",
  "M-5 0 4-5v10z",
  "M5 0-4-5v10z",
];

// The first has a colour and a shape of its own; of the others no two among 36 share both.
const colour = index => `c${index && 1 + (index - 1) % 6}`;
const shape = index => SHAPES[index && 1 + (index - 1 + Math.floor((index - 1) / 6)) % 6];

function sign(index, attributes = {}) {
  return svg("path", { d: shape(index), ...attributes, class: `point ${colour(index)} ${attributes.class ?? ""}` });
}

const key = (index, name) =>
  html("span", {}, svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" }, sign(index)), name);

// Where values lie between two ends in pixels, and the ticks there. log: logarithmic beyond two decades, with zero
// beside it. whole: values that are counted have no ticks between them.
function axis(values, from, to, { log = false, whole = false } = {}) {
  const low = Math.min(...values), high = Math.max(...values), least = Math.min(...values.filter(value => value > 0));
  if (log && low >= 0 && high > 100 * least) return logarithmic(low, high, least, from, to);
  return linear(low, high, from, to, whole);
}

function logarithmic(low, high, least, from, to) {
  const zero = low === 0 ? 0.08 * (to - from) : 0, span = 1.06 * Math.log(high / least);
  const above = value => from + zero + (to - from - zero) * (0.03 + Math.log(value / least) / span);
  const ticks = low === 0 ? [0] : [];
  for (let power = Math.ceil(Math.log10(least)); 10 ** power <= high; power++) ticks.push(10 ** power);
  return { at: value => value > 0 ? above(value) : from + 0.3 * zero, ticks };
}

function linear(low, high, from, to, whole) {
  const pad = 0.05 * (high - low || Math.abs(high) || 1), start = low - pad, span = high - low + 2 * pad;
  const power = 10 ** Math.floor(Math.log10(span / 5));
  const step = Math.max([1, 2, 5, 10].map(times => times * power).find(size => span / size <= 6), whole ? 1 : 0);
  const ticks = [];
  for (let count = Math.ceil(start / step); count * step <= start + span; count++)
    ticks.push(count * step || 0); // no -0
  return { at: value => from + (to - from) * (value - start) / span, ticks };
}

function frame(width, height, x, y, labels, about) {
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, ...about });
  const write = (x, y, anchor, text) => drawing.append(svg("text", { x, y, "text-anchor": anchor }, text));
  const draw = path => drawing.append(svg("path", { class: "grid", d: path }));
  for (const tick of y.ticks) {
    draw(`M${LEFT} ${y.at(tick)}H${width - 8}`);
    write(LEFT - 4, y.at(tick) + 4, "end", compact.format(tick));
  }
  for (const tick of x.ticks) {
    draw(`M${x.at(tick)} 18V${height - 36}`);
    write(x.at(tick), height - 22, "middle", compact.format(tick));
  }
  write(4, 12, "start", labels.y);
  write(width - 8, height - 5, "end", labels.x);
  return drawing;
}

// A small chart. series: name -> [[x, y, title of the point]]. joined: whether lines join the points.
function chart(title, series, label, joined) {
  const every = Object.values(series).flat(), width = 428, height = 200;
  const x = axis(every.map(point => point[0]), LEFT, width - 8, { whole: true });
  const y = axis(every.map(point => point[1]), height - 36, 18);
  const ends = Object.entries(series).map(([name, points]) => `${name} from ${points[0][1]} to ${points.at(-1)[1]}`);
  const about = { role: "img", "aria-label": `${title}: ${ends.join("; ")}` };
  const drawing = frame(width, height, x, y, { x: label, y: "" }, about);
  Object.values(series).forEach((points, index) => {
    const places = points.map(([a, b]) => `${x.at(a)} ${y.at(b)}`);
    if (joined) drawing.append(svg("path", { class: `curve ${colour(index)}`, d: `M${places.join("L")}` }));
    points.forEach(([, , name], at) => {
      const spot = { transform: `translate(${places[at]}) scale(0.7)` };
      drawing.append(svg("g", spot, sign(index), svg("title", {}, name)));
    });
  });
  const keys = Object.keys(series).map((name, index) => key(index, name));
  const legend = keys.length > 1 ? [html("figcaption", {}, ...keys)] : [];
  return html("figure", {}, html("h3", {}, title), drawing, ...legend);
}
