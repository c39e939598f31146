// --- the plot of two columns -----------------------------------------------------------------------------------------

function plot(found) {
  const x = numeric(state.x), y = numeric(state.y), holder = $("plot");
  const points = found.filter(row => row[x.key] != null && row[y.key] != null).sort((a, b) => a[x.key] - b[x.key]);
  const there = METHODS.filter(method => points.some(row => row.method === method));
  const printed = points.some(row => row.by === "paper") ? [html("span", {}, "hollow: the paper's rows")] : [];
  $("legend").replaceChildren(...there.map(method => key(METHODS.indexOf(method), method)), ...printed);
  if (!points.length) {
    $("front").textContent = "";
    return holder.replaceChildren(html("p", {}, `No row here has both ${x.label} and ${y.label}.`));
  }
  const width = Math.max(300, holder.clientWidth), height = width < 600 ? 300 : 380;
  const across = axis(points.map(row => row[x.key]), LEFT, width - 8, x);
  const up = axis(points.map(row => row[y.key]), height - 36, 18, y);
  const place = row => [across.at(row[x.key]), up.at(row[y.key])];
  const falls = row => row.falls?.includes(y.key), better = row => falls(row) ? -row[y.key] : row[y.key];

  const metrics = new Set(points.map(row => row[{ score: "metric", test: "measure" }[y.key]]).filter(Boolean));
  const labels = { x: x.label, y: metrics.size === 1 ? `${y.label} (${[...metrics]})` : y.label };
  const told = `${y.label} by ${x.label}, ${points.length} points; arrow keys go from one to the next`;
  const drawing = frame(width, height, across, up, labels, { role: "group", "aria-label": told });

  // Scores of several tasks or scales do not compare: only one of each has a front.
  const several = ["task", "scale"].find(name => new Set(points.map(row => row[name])).size > 1);
  const best = several ? [] : front(points, x.key, better);
  $("front").textContent = several
    ? `A front needs one ${several}: choose it above.`
    : `Line: the front, from low ${x.label} to ${falls(points[0]) ? "low" : "high"} ${y.label}.`;
  const corners = best.map(place).map(([left, top], at) => at ? `H${left}V${top}` : `M${left} ${top}`);
  if (best.length) drawing.append(svg("path", { class: "front", d: `${corners.join("")}H${width - 8}` }));

  const note = html("div", { class: "note", role: "status" });
  const tell = (row, text) => {
    const [left, top] = place(row), side = left < width / 2 ? `left: ${left}px` : `right: ${width - left}px`;
    note.textContent = text;
    note.style.cssText = `top: ${top + 10}px; ${side}`;
  };
  drawing.append(...marks(points, x, y, place, tell, () => note.replaceChildren()));
  drawing.append(...names(points, best, better, place, width));
  holder.replaceChildren(drawing, note);
}

// The points that no other dominates, of points in the order of their cost.
function front(points, cost, better) {
  const best = [];
  for (const row of points) {
    const last = best.at(-1);
    if (last && better(row) <= better(last)) continue;
    if (last && last[cost] === row[cost]) best.pop();
    best.push(row);
  }
  return best;
}

// One sign for each point. One of them can be reached by Tab, the others from there by the arrow keys.
function marks(points, x, y, place, tell, hush) {
  const made = points.map((row, at) => {
    const text = `${named(row)}: ${x.label} ${written(row, x)}, ${y.label} ${written(row, y)}`;
    const about = { role: "button", tabindex: at ? -1 : 0, "aria-label": text };
    const mark = sign(METHODS.indexOf(row.method), { class: row.by, transform: `translate(${place(row)})`, ...about });
    mark.onclick = () => go({ run: row.id }, true);
    mark.onmouseenter = mark.onfocus = () => tell(row, text);
    mark.onmouseleave = mark.onblur = hush;
    mark.onkeydown = event => {
      const next = made[at + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
      if (!next && !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      if (!next) return mark.onclick();
      mark.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    };
    return mark;
  });
  return made;
}

// The name of FourierFT at its best point, then those of the front, where there is room.
function names(points, best, better, place, width) {
  const ours = points.filter(row => row.method === OURS).sort((a, b) => better(b) - better(a)).slice(0, 1);
  const taken = [];
  for (const row of [...ours, ...best]) {
    const text = row.method === OURS ? "FourierFT" : row.method, wide = 7 * text.length;
    if (taken.some(one => one.text === text)) continue;
    const [left, top] = place(row);
    const spots = [left + 8, left - 8 - wide].flatMap(x => [{ x, y: top - 5 }, { x, y: top + 14 }]);
    const apart = (a, b) => a.x >= b.x + b.wide || b.x >= a.x + wide || Math.abs(a.y - b.y) >= 13;
    const fits = spot => spot.x > LEFT && spot.x + wide < width && taken.every(one => apart(spot, one));
    const spot = spots.find(fits) ?? (row === ours[0] ? spots[0] : null);
    if (spot) taken.push({ ...spot, wide, text, class: `name ${colour(METHODS.indexOf(row.method))}` });
  }
  return taken.map(({ x, y, text, class: own }) => svg("text", { x, y, class: own }, text));
}
