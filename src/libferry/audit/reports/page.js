
"use strict";
// Elements are made one by one, and text is set as text: nothing here reads markup.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const SEVERITIES = ["error", "warning", "note"];
const ANSWERS = new Map([[true, "yes"], [false, "no"], [null, "unknown"]]);
const MARKS = {yes: "✓ yes", no: "✗ no", unknown: "? unknown"};
const SHOWN = 300;

function make(tag, options, ...children) {
  const svg = options && options.svg;
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) {
    if (name === "svg" || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !svg) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const badge = (kind, text) => make("span", {className: `badge ${kind}`}, text || kind);
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const last = (path) => path.slice(path.lastIndexOf("/") + 1) || path;
const option = (value, text) => make("option", {value}, text);

// ---- all findings, each with its file and target
const all = [];
data.targets.forEach((target, number) => {
  target.cell = new Map();
  for (const cell of target.cells) {
    target.cell.set(cell.file, cell);
    for (const [rule, severity, subject, message, fix] of cell.findings) {
      all.push({rule, severity, subject, message, fix, file: cell.file, target: number});
    }
  }
});

// ---- what is on top of every view
function cards() {
  return make("section", {className: "cards"}, ...data.targets.map((target) => {
    const counts = {yes: 0, no: 0, unknown: 0};
    for (const cell of target.cells) counts[ANSWERS.get(cell.answer)] += 1;
    const bar = make("div", {className: "bar"});
    for (const kind of ["no", "unknown", "yes"]) {
      const part = make("i", {className: kind});
      part.style.flex = String(counts[kind]);
      if (counts[kind]) bar.append(part);
    }
    const answer = ANSWERS.get(target.answer);
    return make("div", {className: "card"},
      make("div", {className: "top"}, make("h2", {}, target.name), badge(answer, MARKS[answer])),
      make("p", {}, target.summary), bar);
  }));
}

// ---- one file on one target
function show(file, target) {
  const cell = data.targets[target].cell.get(file);
  const answer = ANSWERS.get(cell.answer);
  const facts = make("dl", {});
  for (const [name, value] of Object.entries(cell.facts)) {
    facts.append(make("dt", {}, name), make("dd", {}, String(value)));
  }
  const box = make("dialog", {onclose: () => box.remove()},
    make("div", {className: "top"}, make("h2", {className: "path"}, data.files[file]),
      make("button", {type: "button", onclick: () => box.close()}, "close")),
    make("p", {}, badge(answer, MARKS[answer]), " ", cell.reason),
    cell.hint ? make("p", {className: "fix"}, `hint: ${cell.hint}`) : null, facts,
    ...cell.findings.map(([rule, severity, , message, fix]) => make("div", {className: "case"},
      badge(severity), " ", make("code", {}, rule), make("div", {}, message),
      fix ? make("div", {className: "fix"}, `fix: ${fix}`) : null)),
    make("p", {}, make("button", {type: "button", onclick: () => {
      box.close();
      open("graph", {file, target});
    }}, "show what it needs")));
  document.body.append(box);
  box.showModal();
}

// ---- libraries × targets
function matrix() {
  const search = make("input", {type: "search", placeholder: "filter files", oninput: draw});
  const which = make("select", {onchange: draw, title: "answer"}, option("", "all answers"),
    option("no", "no somewhere"), option("unknown", "unknown somewhere"),
    option("differs", "differs by target"), option("yes", "yes everywhere"));
  const sort = make("select", {onchange: draw, title: "order"}, option("bad", "worst first"),
    option("name", "by name"));
  const box = make("div", {className: "box"});
  let limit = SHOWN;
  const rows = data.files.map((name, file) => {
    const answers = data.targets.map((t) => t.cell.has(file) ? ANSWERS.get(t.cell.get(file).answer) : "");
    return {name, file, answers, grade: answers.filter((a) => a === "no").length * 1000
      + answers.filter((a) => a === "unknown").length};
  });
  function draw() {
    const words = search.value.toLowerCase(), kind = which.value;
    const found = rows.filter((row) => row.name.toLowerCase().includes(words) && (!kind
      || (kind === "differs" ? new Set(row.answers).size > 1
        : kind === "yes" ? row.answers.every((a) => a === "yes") : row.answers.includes(kind))));
    if (sort.value === "bad") found.sort((a, b) => b.grade - a.grade);
    const body = make("tbody", {});
    for (const row of found.slice(0, limit)) {
      body.append(make("tr", {}, make("th", {scope: "row", className: "path"}, row.name),
        ...row.answers.map((answer, target) => answer
          ? make("td", {className: `cell ${answer}`, tabIndex: 0, onclick: () => show(row.file, target),
              onkeydown: (event) => event.key === "Enter" && show(row.file, target),
              title: data.targets[target].cell.get(row.file).reason}, MARKS[answer])
          : make("td", {}))));
    }
    const head = make("tr", {}, make("th", {}, count(found.length, "file")),
      ...data.targets.map((target) => make("th", {scope: "col"}, target.name)));
    box.replaceChildren(make("table", {}, make("thead", {}, head), body));
    if (!found.length) box.append(make("p", {className: "empty"}, "no such file"));
    if (found.length > limit) {
      box.append(make("button", {className: "more", type: "button", onclick: () => {
        limit *= 4;
        draw();
      }}, `${found.length - limit} more`));
    }
  }
  draw();
  return [cards(), make("div", {className: "tools"}, search, which, sort), box];
}

// ---- findings by rule
function findings() {
  const search = make("input", {type: "search", placeholder: "filter by file, rule, message", oninput: draw});
  const target = make("select", {onchange: draw, title: "target"}, option("", "all targets"),
    ...data.targets.map((one, number) => option(String(number), one.name)));
  const groups = [...new Set(Object.values(data.rules).map((rule) => rule.group).filter(Boolean))].sort();
  const group = make("select", {onchange: draw, title: "group"}, option("", "all groups"),
    ...groups.map((name) => option(name, name)));
  const wanted = SEVERITIES.map((severity) => make("input", {type: "checkbox", value: severity,
    checked: true, onchange: draw}));
  const list = make("div", {});
  function draw() {
    const words = search.value.toLowerCase();
    const kinds = new Set(wanted.filter((box) => box.checked).map((box) => box.value));
    const byRule = new Map();
    for (const one of all) {
      if (!kinds.has(one.severity) || (target.value && one.target !== Number(target.value))) continue;
      if (group.value && data.rules[one.rule].group !== group.value) continue;
      const text = `${one.rule} ${data.files[one.file]} ${one.message}`.toLowerCase();
      if (!text.includes(words)) continue;
      if (!byRule.has(one.rule)) byRule.set(one.rule, []);
      byRule.get(one.rule).push(one);
    }
    const order = ([, cases]) => Math.min(...cases.map((one) => SEVERITIES.indexOf(one.severity)));
    const sorted = [...byRule].sort((a, b) => order(a) - order(b) || b[1].length - a[1].length);
    list.replaceChildren(...sorted.map(([rule, cases], place) => ruleBox(rule, cases, sorted.length === 1)));
    if (!sorted.length) list.append(make("p", {className: "box empty"}, "nothing was found"));
  }
  draw();
  return [cards(), make("div", {className: "tools"}, search, target, group,
    ...wanted.map((box) => make("label", {}, box, box.value))), list];
}

function ruleBox(name, cases, open) {
  const rule = data.rules[name];
  const worst = SEVERITIES.find((severity) => cases.some((one) => one.severity === severity));
  const files = new Set(cases.map((one) => one.file)).size;
  const body = make("div", {className: "body"});
  function fill() {
    if (body.firstChild) return;
    for (const paragraph of (rule.explanation || "").split("\n\n")) body.append(make("p", {}, paragraph));
    if (rule.fix) body.append(make("h3", {}, "fix"), make("p", {}, rule.fix));
    if (rule.good || rule.bad) {
      body.append(make("div", {className: "pair"},
        make("div", {className: "good"}, make("h3", {}, "good"), make("pre", {}, rule.good || "")),
        make("div", {className: "bad"}, make("h3", {}, "bad"), make("pre", {}, rule.bad || ""))));
    }
    if (rule.source) body.append(make("p", {className: "source"}, `source: ${rule.source}`));
    list(0);
  }
  function list(start) {
    for (const one of cases.slice(start, start + 50)) {
      body.append(make("div", {className: "case"},
        make("div", {className: "path"}, data.files[one.file],
          data.targets.length > 1 ? ` · ${data.targets[one.target].name}` : ""),
        make("div", {}, badge(one.severity), " ", one.message),
        one.fix && one.fix !== rule.fix ? make("div", {className: "fix"}, `fix: ${one.fix}`) : null));
    }
    if (cases.length > start + 50) {
      const more = make("button", {className: "more", type: "button", onclick: () => {
        more.remove();
        list(start + 50);
      }}, `${cases.length - start - 50} more`);
      body.append(more);
    }
  }
  const box = make("details", {className: "box rule", open, ontoggle: fill},
    make("summary", {}, badge(worst), make("span", {className: "title"}, rule.title || name, " ",
      make("code", {}, name)), make("span", {className: "source"},
      `${count(cases.length, "finding")} in ${count(files, "file")}`)), body);
  if (open) fill();
  return box;
}

// ---- views
const VIEWS = {matrix: ["Files × targets", matrix], findings: ["Findings", findings], graph: ["Dependencies", graph]};
function open(name, options) {
  for (const tab of document.getElementById("tabs").children) {
    tab.setAttribute("aria-selected", String(tab.dataset.view === name));
  }
  document.getElementById("main").replaceChildren(...VIEWS[name][1](options || {}));
  if (location.hash.slice(1).split("/")[0] !== name) history.replaceState(null, "", `#${name}`);
}
for (const [name, [title]] of Object.entries(VIEWS)) {
  const tab = make("button", {type: "button", role: "tab", onclick: () => open(name)}, title);
  tab.dataset.view = name;
  document.getElementById("tabs").append(tab);
}
const root = document.documentElement;
root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
window.addEventListener("DOMContentLoaded", () => {
  const [view, theme] = location.hash.slice(1).split("/");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  open(view in VIEWS ? view : "matrix");
});
