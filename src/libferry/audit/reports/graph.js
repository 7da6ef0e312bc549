
// ---- the graph of what needs what: layers from left to right, each after all that need it
const MANY = 120;
function graph(options) {
  const choice = {target: options.target || 0, file: options.file};
  const target = make("select", {title: "target", onchange: () => { choice.target = Number(target.value); begin(); }},
    ...data.targets.map((one, number) => option(String(number), one.name)));
  const files = make("input", {type: "search", placeholder: "file", title: "file", onchange: pick});
  const names = make("datalist", {id: "names"}, ...data.files.slice(0, 3000).map((name) => option(name, "")));
  files.setAttribute("list", "names");
  const search = make("input", {type: "search", placeholder: "find a library", oninput: mark});
  const common = make("input", {type: "checkbox", checked: true, onchange: draw});
  const buttons = [["+", () => zoom(1.3)], ["−", () => zoom(1 / 1.3)], ["fit", () => fit()],
    ["unfold all", () => { unfolded = new Set(to.keys()); draw(); }], ["fold", () => { unfolded = new Set(starts); draw(); }]]
    .map(([text, act]) => make("button", {type: "button", onclick: act}, text));
  const stage = make("g", {svg: true});
  const svg = make("svg", {svg: true, role: "img", "aria-label": "what needs what"}, stage);
  const about = make("div", {className: "box about", hidden: true});
  const box = make("div", {className: "box graph"}, svg, about, make("div", {className: "legend"},
    badge("no", "missing or refused"), badge("unknown", "not known"), badge("note", "ignored")));
  let g, to, from, starts, unfolded, placed = new Map(), lines = [], view = {x: 20, y: 20, k: 1};

  function pick() {
    const found = data.files.indexOf(files.value);
    choice.file = found < 0 ? undefined : found;
    begin();
  }
  function begin() {
    g = data.targets[choice.target].graph;
    to = new Map(); from = new Map();
    for (const [start, end, name, state, how] of g.edges) {
      if (start === end) continue;
      if (!to.has(start)) to.set(start, []);
      if (!from.has(end)) from.set(end, []);
      to.get(start).push({node: end, name, state, how});
      from.get(end).push({node: start, name, state, how});
    }
    const all = [...new Set(Object.values(g.roots))].filter((node) => !from.has(node));
    if (choice.file === undefined && all.length > MANY) {
      // too many to draw: one that does not load, or the first
      const cells = data.targets[choice.target].cells;
      choice.file = (cells.find((cell) => cell.answer === false) || cells[0]).file;
    }
    const own = g.roots[choice.file];
    files.value = choice.file === undefined ? "" : data.files[choice.file];
    starts = own !== undefined ? [own] : all;
    if (!starts.length) starts = [...new Set(Object.values(g.roots))].slice(0, 1);
    const closure = reach(starts, () => true);
    unfolded = closure.size <= MANY ? new Set(closure) : new Set(starts);
    draw();
    fit();
  }
  function reach(nodes, passes) {
    const seen = new Set(nodes), waiting = [...nodes];
    while (waiting.length) {
      const node = waiting.pop();
      if (!passes(node)) continue;
      for (const {node: next} of to.get(node) || []) if (!seen.has(next)) { seen.add(next); waiting.push(next); }
    }
    return seen;
  }
  function layers(nodes) {
    // the longest way from a start; edges that close a circle do not count
    const depth = new Map(), state = new Map(), order = [];
    for (const start of nodes) {
      if (state.has(start)) continue;
      const stack = [[start, 0]];
      state.set(start, 1);
      while (stack.length) {
        const top = stack[stack.length - 1];
        const next = unfolded.has(top[0]) ? (to.get(top[0]) || [])[top[1]++] : undefined;
        if (!next) { state.set(top[0], 2); order.push(top[0]); stack.pop(); continue; }
        if (nodes.has(next.node) && !state.has(next.node)) { state.set(next.node, 1); stack.push([next.node, 0]); }
      }
    }
    const place = new Map(order.reverse().map((node, number) => [node, number]));
    for (const node of order) {
      const here = depth.get(node) || 0;
      depth.set(node, here);
      if (!unfolded.has(node)) continue;
      for (const {node: next} of to.get(node) || []) {
        if (nodes.has(next) && place.get(next) > place.get(node)) depth.set(next, Math.max(depth.get(next) || 0, here + 1));
      }
    }
    const rows = [];
    for (const node of order) (rows[depth.get(node)] ||= []).push(node);
    for (let sweep = 0; sweep < 6; sweep++) {
      const at = new Map();
      rows.forEach((row) => row.forEach((node, number) => at.set(node, number / row.length)));
      const down = sweep % 2 === 0;
      for (const row of rows) {
        const mean = new Map(row.map((node) => {
          const near = ((down ? from : to).get(node) || []).map((edge) => at.get(edge.node)).filter((one) => one !== undefined);
          return [node, near.length ? near.reduce((a, b) => a + b, 0) / near.length : at.get(node)];
        }));
        row.sort((a, b) => mean.get(a) - mean.get(b));
      }
    }
    return rows;
  }
  function draw() {
    let nodes = reach(starts, (node) => unfolded.has(node));
    if (common.checked && nodes.size > 25) {
      const needed = (node) => (from.get(node) || []).filter((edge) => nodes.has(edge.node)).length;
      nodes = new Set([...nodes].filter((node) => starts.includes(node) || needed(node) <= nodes.size * 0.4));
    }
    stage.replaceChildren();
    placed = new Map(); lines = [];
    // a layer of hundreds would be a line of hundreds: it is folded into columns side by side
    const cap = Math.max(14, Math.ceil(Math.sqrt(nodes.size) * 2.2));
    let x = 0;
    for (const row of layers(nodes)) {
      const columns = Math.ceil(row.length / cap), size = Math.ceil(row.length / columns);
      for (let column = 0; column < columns; column++) {
        const part = row.slice(column * size, (column + 1) * size);
        const labels = part.map((node) => last(g.nodes[node]).slice(0, 46));
        const width = Math.max(...labels.map((label) => label.length)) * 7.3 + 34;
        const shift = columns > 1 && column % 2 ? 15 : 0;
        part.forEach((node, number) => {
          placed.set(node, {x, y: (number - (part.length - 1) / 2) * 34 + shift, width, label: labels[number]});
        });
        x += width + (column < columns - 1 ? 46 : Math.max(80, Math.min(200, size * 6)));
      }
    }
    for (const node of placed.keys()) {
      if (!unfolded.has(node)) continue;
      for (const edge of to.get(node) || []) {
        const a = placed.get(node), b = placed.get(edge.node);
        if (!b) continue;
        const x1 = a.x + a.width, bend = Math.max(40, Math.abs(b.x - x1) / 2);
        const path = make("path", {svg: true, class: `edge ${edge.state}`,
          d: `M${x1} ${a.y}C${x1 + bend} ${a.y} ${b.x - bend} ${b.y} ${b.x} ${b.y}`});
        lines.push({path, start: node, end: edge.node});
        stage.append(path);
      }
    }
    for (const [node, at] of placed) stage.append(nodeBox(node, at));
    move();
    mark();
  }
  function nodeBox(node, at) {
    const needs = (to.get(node) || []).length, folded = needs && !unfolded.has(node);
    const state = g.states[node] || "";
    const fold = needs ? make("text", {svg: true, class: "fold", x: at.x + at.width - 14, y: at.y + 4, onclick: (event) => {
      event.stopPropagation();
      if (folded) unfolded.add(node); else unfolded.delete(node);
      draw();
    }}, folded ? "+" : "−") : "";
    at.box = make("g", {svg: true, class: `node ${state} ${starts.includes(node) ? "root" : ""}`,
      onclick: () => tell(node), onpointerenter: () => near(node), onpointerleave: () => near(null)},
      make("title", {svg: true}, g.nodes[node]),
      make("rect", {svg: true, x: at.x, y: at.y - 12, width: at.width, height: 24, rx: 6}),
      make("text", {svg: true, x: at.x + 9, y: at.y + 4}, at.label), fold);
    return at.box;
  }
  function near(node) {
    for (const {path, start, end} of lines) path.classList.toggle("near", node !== null && (start === node || end === node));
  }
  function tell(node) {
    const link = ({node: other, name, how}) => make("li", {}, make("a", {onclick: () => tell(other)}, last(g.nodes[other])),
      how ? ` (${how})` : "", name !== last(g.nodes[other]) ? ` as ${name}` : "");
    const part = (title, edges) => edges.length ? [make("b", {}, `${title} (${edges.length})`),
      make("ul", {}, ...edges.slice(0, 60).map(link))] : [];
    about.replaceChildren(make("div", {className: "path"}, g.nodes[node]),
      make("p", {}, badge({missing: "no", refused: "no", unknown: "unknown"}[g.states[node]] || "note", g.states[node] || "asked about"), " ",
        make("button", {type: "button", onclick: () => { about.hidden = true; }}, "close")),
      ...part("needs", to.get(node) || []), ...part("needed by", from.get(node) || []));
    about.hidden = false;
  }
  function mark() {
    const words = search.value.toLowerCase();
    for (const [node, {box: drawn}] of placed) {
      const hit = words && g.nodes[node].toLowerCase().includes(words);
      drawn.classList.toggle("hit", Boolean(hit));
      drawn.classList.toggle("far", Boolean(words && !hit));
    }
    for (const {path} of lines) path.classList.toggle("far", Boolean(words));
  }
  function move() { stage.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`); }
  function zoom(factor, cx, cy) {
    const size = svg.getBoundingClientRect(), px = cx ?? size.width / 2, py = cy ?? size.height / 2;
    const k = Math.min(4, Math.max(0.04, view.k * factor));
    view = {k, x: px - (px - view.x) * k / view.k, y: py - (py - view.y) * k / view.k};
    move();
  }
  function fit() {
    const size = svg.getBoundingClientRect();
    if (!placed.size || !size.width) { requestAnimationFrame(() => svg.isConnected && placed.size && fit()); return; }
    const ats = [...placed.values()];
    const right = Math.max(...ats.map((at) => at.x + at.width)), top = Math.min(...ats.map((at) => at.y)) - 20;
    const bottom = Math.max(...ats.map((at) => at.y)) + 20;
    const k = Math.min(1.4, (size.width - 40) / right, (size.height - 70) / (bottom - top));
    view = {k, x: (size.width - right * k) / 2, y: (size.height - (bottom + top) * k) / 2 - 12};
    move();
  }
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const size = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - size.left, event.clientY - size.top);
  }, {passive: false});
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".node")) return;
    held = {x: event.clientX - view.x, y: event.clientY - view.y};
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("moving");
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    view.x = event.clientX - held.x; view.y = event.clientY - held.y;
    move();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    svg.addEventListener(end, () => { held = null; svg.classList.remove("moving"); });
  }
  target.value = String(choice.target);
  if (choice.file === undefined && data.files.length <= 3) choice.file = 0;
  begin();
  return [make("div", {className: "tools"}, target, files, names, search, ...buttons,
    make("label", {title: "what more than a third of all need, such as the C library"}, common, "leave out what all need")), box];
}
