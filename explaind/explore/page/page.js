// The page: its state is the part of the address behind #, and every view is asked for again when what it shows has changed.
"use strict";
const $ = (id) => document.getElementById(id);
const PER_PAGE = 50;
const VIEWS = { run: ["timeline", "total", "samples", "kernel", "certificate"], checkpoints: ["checkpoints", "total", "languages"], scores: [] };
const NEEDS = {
  timeline: ["run", "tests", "output", "cumulative", "other", "phase"], total: ["run", "tests", "output", "start", "stop"],
  samples: ["run", "tests", "output", "start", "stop"], kernel: ["run", "window", "layer", "matrix", "rows", "columns"],
  certificate: ["run", "tests", "output", "start", "stop"], checkpoints: ["run", "term"], languages: ["run", "language", "start", "stop"],
};
let state = {}, sources = [], table = null, order = { column: 0, up: true }, page = 0, shownFor = {}, views = {}, pictures = {};

const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const query = () => new URLSearchParams(Object.entries(state).filter(([, v]) => v !== "")).toString();
const source = () => sources.find((one) => one.key === state.run) ?? sources[0];
const tests = () => (state.tests ?? "").split(",").filter(Boolean).map(Number);

async function fetchJson(path, options) {
  const answer = await fetch(`${path}${path.includes("?") ? "&" : "?"}${query()}`, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? answer.statusText);
  return content;
}

function say(text) { $("notes").textContent = text; }

function set(changes) {
  state = { ...state, ...changes };
  history.replaceState(null, "", `#${query()}`);
  return refresh();
}

async function refresh() {
  const run = source(), kind = run.kind;
  for (const name of ["timeline", "total", "samples", "languages", "kernel", "certificate"]) {
    const own = name === "timeline" ? kind !== "scores" : VIEWS[kind].includes(name);
    $(name).hidden = !own || (name === "kernel" && !run.windows.length);
  }
  $("predictions").hidden = kind === "checkpoints";
  document.querySelector("main").className = kind === "checkpoints" ? "single" : "";
  $("terms").hidden = kind !== "checkpoints";
  for (const id of ["cumulative"]) $(id).parentElement.hidden = kind === "checkpoints" || !tests().length;
  for (const button of document.querySelectorAll(".ask")) button.hidden = kind !== "run" || !run.computes || !tests().length;
  describeSelection();
  fillControls();
  await Promise.all(VIEWS[kind].map(update));
}

async function update(name) {
  const wanted = NEEDS[name].map((key) => state[key] ?? "").join("|");
  if (shownFor[name] === wanted || (name === "kernel" && !source().windows.length)) return;
  shownFor[name] = wanted;
  try {
    const view = await fetchJson(`api/${name}`);
    if (shownFor[name] !== wanted) return; // another selection since
    const place = name === "checkpoints" ? "timeline" : name;
    views[place] = view;
    drawView(place, view);
    if (place === "timeline") brush();
    if (name === "kernel") kernelControls(view);
    if (name === "languages") fill($("language"), view.heldout ?? [], view.language);
  } catch (error) { shownFor[name] = null; say(error.message); }
}

function again(...names) { for (const name of names) shownFor[name] = null; return refresh(); }

// --- the window of updates ----------------------------------------------------------------------------------------------------
function brush() {
  const figure = $("timeline").querySelector(".figure");
  if (figure.dataset.listening || !figure.on) { mark(); return; }
  figure.dataset.listening = "1";
  figure.on("plotly_selected", (event) => {
    const range = event?.range ? Object.entries(event.range).find(([key]) => key.startsWith("x"))?.[1] : null;
    if (range) chooseWindow(Math.max(0, Math.ceil(Math.min(...range))), Math.floor(Math.max(...range)) + 1);
  });
  figure.on("plotly_doubleclick", () => { chooseWindow(0, 0); return false; });
  mark();
}

function shapes() { // the view's own, and the chosen window
  const start = Number(state.start ?? 0), stop = Number(state.stop ?? 0);
  const shade = { type: "rect", xref: "x", yref: "paper", x0: start, x1: stop, y0: 0, y1: 1, fillcolor: "#0072b2", opacity: 0.15, line: { width: 0 } };
  return [...(views.timeline?.figure?.layout.shapes ?? []), ...(stop ? [shade] : [])];
}

function mark() {
  const figure = $("timeline").querySelector(".figure");
  if (!figure.layout) return;
  Plotly.relayout(figure, { shapes: shapes(), selections: [] });
}

function chooseWindow(start, stop) { set({ start: String(start), stop: String(stop) }).then(mark); mark(); }

// --- the table of predictions --------------------------------------------------------------------------------------------------
async function loadPredictions() {
  if (source().kind === "checkpoints") return;
  try { table = await fetchJson("api/predictions"); } catch (error) { table = null; say(error.message); return; }
  $("predictions").querySelector(".words").textContent = table.words;
  const outputs = [["true", "output of the true class"], ["margin", "margin"], ["loss", "loss"]];
  for (let i = 0; i < Math.min(table.outputs ?? 0, 200); i++) outputs.push([String(i), `output ${i}${table.names?.[i] ? ` (${table.names[i]})` : ""}`]);
  fill($("output"), outputs, state.output ?? "true");
  page = 0;
  drawTable();
}

function visibleRows() {
  const right = table.columns.indexOf("right"), filter = $("filter").value;
  let rows = table.rows;
  if (filter !== "all" && right >= 0) rows = rows.filter((row) => row[right] === (filter === "right"));
  const { column, up } = order;
  return [...rows].sort((a, b) => ((a[column] ?? -Infinity) > (b[column] ?? -Infinity) ? 1 : a[column] === b[column] ? a[0] - b[0] : -1) * (up ? 1 : -1));
}

async function drawTable() {
  const body = $("predictions").querySelector("tbody"), head = $("predictions").querySelector("thead"), rows = visibleRows();
  const pages = Math.max(1, Math.ceil(rows.length / PER_PAGE));
  page = Math.min(page, pages - 1);
  const plain = source().kind === "scores", columns = plain ? table.columns : ["sample", ...table.columns.filter((c) => c !== "right")];
  const line = element("tr");
  for (const name of columns) {
    const cell = element("th"), button = element("button", name), at = table.columns.indexOf(name);
    button.addEventListener("click", () => { if (at >= 0) { order = { column: at, up: order.column === at ? !order.up : true }; drawTable(); } });
    cell.append(button); line.append(cell);
  }
  head.replaceChildren(line);
  const some = rows.slice(page * PER_PAGE, (page + 1) * PER_PAGE), chosen = new Set(tests());
  body.replaceChildren(...some.map((row) => {
    const made = element("tr", null, plain ? {} : { "data-test": row[0], tabindex: "0", "aria-selected": String(chosen.has(row[0])) });
    if (row[table.columns.indexOf("right")] === false) made.className = "wrong";
    for (const name of columns) {
      const value = name === "sample" ? "" : row[table.columns.indexOf(name)], named = ["label", "predicted"].includes(name) && table.names?.[value];
      made.append(element("td", named || (typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : value)));
    }
    return made;
  }));
  $("pages").textContent = `${page + 1} of ${pages}`;
  if (!plain) showSamples(some.map((row) => row[0]), body);
}

async function showSamples(numbers, body) {
  const missing = numbers.filter((i) => !(`${state.run}/${i}` in pictures)), of = state.run;
  if (missing.length) {
    const found = await fetchJson(`api/samples-of/test?positions=${missing.join(",")}`).catch(() => []);
    found.forEach((one, i) => { pictures[`${of}/${missing[i]}`] = one; });
  }
  for (const row of body.querySelectorAll("tr[data-test]")) {
    const shown = pictures[`${of}/${row.dataset.test}`], cell = row.firstChild;
    if (!shown || cell.childNodes.length) continue;
    if (shown.picture) cell.append(element("img", null, { src: shown.picture, alt: `test sample ${row.dataset.test}` }));
    else cell.textContent = shown.text;
  }
}

function choose(test, add) {
  const present = new Set(tests());
  const next = add ? (present.has(test) ? [...present].filter((t) => t !== test) : [...present, test]) : [test];
  set({ tests: next.sort((a, b) => a - b).join(",") });
  for (const row of $("predictions").querySelectorAll("tr[data-test]")) row.setAttribute("aria-selected", String(next.includes(Number(row.dataset.test))));
}

function describeSelection() {
  const chosen = tests(), run = source(), kind = run.kind;
  if (kind !== "run") { $("chosen").hidden = true; return; }
  $("chosen").hidden = false;
  const stop = Number(state.stop) || run.steps, start = Number(state.start) || 0;
  const name = (t) => { const shown = pictures[`${state.run}/${t}`]; return shown?.text ? `${t} (${shown.text})` : String(t); };
  const what = chosen.length ? `prediction${chosen.length > 1 ? "s" : ""} ${chosen.slice(0, 8).map(name).join(", ")}${chosen.length > 8 ? ` and ${chosen.length - 8} more` : ""}` : "no prediction: choose a row (Enter; with Shift for several)";
  $("selection").textContent = `Selected: ${what}; updates ${start} to ${stop - 1} of ${run.steps}.`;
}

// --- controls --------------------------------------------------------------------------------------------------------------------
function fill(select, options, value) {
  const pairs = options.map((one) => (Array.isArray(one) ? one : [one, one]));
  select.replaceChildren(...pairs.map(([key, text]) => element("option", text, { value: key })));
  select.value = value ?? "";
}

function fillControls() {
  $("start").value = state.start ?? 0;
  $("stop").value = Number(state.stop) || source().steps || 0;
  $("cumulative").checked = (state.cumulative ?? "1") === "1";
  $("phase").checked = state.phase === "1";
  $("term").value = state.term ?? "batch";
  $("phase-label").hidden = !state.other;
}

function kernelControls(view) {
  fill($("window"), source().windows, view.window);
  fill($("layer"), view.layers ?? [], view.layer);
  $("matrix").value = state.matrix ?? "kernel";
  const figure = $("kernel").querySelector(".figure");
  if (figure.dataset.listening || !figure.on) return;
  figure.dataset.listening = "1";
  figure.on("plotly_relayout", (event) => {
    const [x0, x1, y0, y1] = ["xaxis.range[0]", "xaxis.range[1]", "yaxis.range[0]", "yaxis.range[1]"].map((key) => event[key]);
    if (x0 === undefined || y0 === undefined) return;
    const span = (a, b) => `${Math.max(0, Math.floor(Math.min(a, b)))},${Math.ceil(Math.max(a, b)) + 1}`;
    set({ columns: span(x0, x1), rows: span(y0, y1) });
  });
}

async function compute(kind) {
  try {
    const plan = await fetchJson(`api/plan/${kind}`);
    const seconds = plan.seconds < 1 ? "less than a second" : `about ${Math.ceil(plan.seconds)} s`;
    if (plan.seconds > 10 && !(await agreed(`This takes ${seconds} and ${Math.ceil(plan.megabytes)} MB, after a check of the updates.`))) return;
    const { began } = await fetchJson(`ask/${kind}`, { method: "POST" });
    if (!began) { say("Another question is being computed. Wait for it, or cancel it."); return; }
    $("work").hidden = false;
    await watch(seconds);
    await again("timeline", "total", "samples", "certificate");
  } catch (error) { say(error.message); }
  $("work").hidden = true;
}

function agreed(text) { // to a computation that takes a while
  const work = $("work"), answer = (value, resolve) => { work.hidden = true; $("go").hidden = true; resolve(value); };
  work.querySelector("span").textContent = text;
  work.querySelector("progress").hidden = true;
  $("go").hidden = work.hidden = false;
  $("go").focus();
  return new Promise((resolve) => { $("go").onclick = () => answer(true, resolve); $("cancel").onclick = () => answer(false, resolve); });
}

async function watch(expected) {
  $("cancel").onclick = () => fetchJson("cancel", { method: "POST" });
  $("work").querySelector("progress").hidden = false;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    const now = await fetchJson("api/state");
    if (now.state !== "running") { say(now.state === "failed" ? now.error : now.state === "cancelled" ? "Cancelled." : ""); return; }
    const bar = $("work").querySelector("progress");
    if (now.total) { bar.max = now.total; bar.value = now.done; } else bar.removeAttribute("value");
    $("work").querySelector("span").textContent = `${now.what}, ${now.done ?? 0}${now.total ? ` of ${now.total}` : ""} (${Math.round(now.seconds)} s, expected ${expected})`;
  }
}

async function save() {
  const parts = await fetchJson("export-parts");
  const copy = document.documentElement.cloneNode(true);
  for (const gone of copy.querySelectorAll("script, link, #work, header select, header button, header label, .saves, .row, #predictions")) gone.remove();
  for (const figure of copy.querySelectorAll(".figure")) { figure.replaceChildren(); figure.removeAttribute("class"); figure.className = "figure"; }
  copy.querySelector("main").className = "single";
  copy.querySelector("header").append(element("span", `${source().key}; ${$("selection").textContent}`));
  const add = (text) => { const script = element("script"); script.textContent = text.replaceAll("</script", "<\\/script"); copy.querySelector("body").append(script); };
  const style = element("style", parts.style); copy.querySelector("head").append(style);
  add(parts.plotly); add(parts.draw);
  const shown = structuredClone(views);
  if (shown.timeline?.figure) shown.timeline.figure.layout.shapes = shapes();
  add(`const VIEWS = ${JSON.stringify(shown).replaceAll("</", "<\\/")};\nfor (const [name, view] of Object.entries(VIEWS)) drawView(name, view);`);
  const file = new Blob(["<!doctype html>\n", copy.outerHTML], { type: "text/html" }), link = element("a", null, { href: URL.createObjectURL(file), download: "explaind.html" });
  link.click();
  return file.text(); // for tests
}

function connect() {
  $("run").addEventListener("change", () => { state = { run: $("run").value }; history.replaceState(null, "", `#${query()}`); shownFor = {}; views = {}; loadPredictions().then(refresh); others(); });
  for (const id of ["other", "output", "term", "language", "window", "layer", "matrix"]) $(id).addEventListener("change", () => set({ [id]: $(id).value, ...(["window", "matrix"].includes(id) ? { rows: "", columns: "" } : {}) }));
  for (const id of ["cumulative", "phase"]) $(id).addEventListener("change", () => set({ [id]: $(id).checked ? "1" : "0" }));
  for (const id of ["start", "stop"]) $(id).addEventListener("change", () => chooseWindow(Number($("start").value), Number($("stop").value)));
  $("whole").addEventListener("click", () => chooseWindow(0, 0));
  $("unzoom").addEventListener("click", () => set({ rows: "", columns: "" }));
  $("filter").addEventListener("change", () => { page = 0; drawTable(); });
  $("jump").addEventListener("change", () => choose(Number($("jump").value), false));
  $("back").addEventListener("click", () => { page = Math.max(0, page - 1); drawTable(); });
  $("forth").addEventListener("click", () => { page += 1; drawTable(); });
  const rows = $("predictions").querySelector("tbody");
  rows.addEventListener("click", (event) => { const row = event.target.closest("tr[data-test]"); if (row) choose(Number(row.dataset.test), event.shiftKey || event.ctrlKey || event.metaKey); });
  rows.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[data-test]"), next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!row) return;
    if (event.key === "Enter" || event.key === " ") { choose(Number(row.dataset.test), event.shiftKey); event.preventDefault(); }
    if (next) { row[next]?.focus(); event.preventDefault(); }
  });
  for (const button of document.querySelectorAll(".ask")) button.addEventListener("click", () => compute(button.dataset.kind));
  $("link").addEventListener("click", () => navigator.clipboard?.writeText(location.href).then(() => say("The address is in the clipboard.")));
  $("export").addEventListener("click", save);
  for (const saves of document.querySelectorAll(".saves")) {
    const name = saves.closest("section").id, figure = saves.closest("section").querySelector(".figure");
    saves.append(element("span", null, { class: "grow" }));
    for (const format of figure ? ["SVG", "PNG"] : []) {
      const button = element("button", format);
      button.addEventListener("click", () => Plotly.downloadImage(figure, { format: format.toLowerCase(), filename: `explaind-${name}`, scale: 2 }));
      saves.append(button);
    }
    saves.append(element("button", "CSV", { "data-csv": name }));
  }
  for (const button of document.querySelectorAll("[data-csv]")) button.addEventListener("click", () => { const name = button.dataset.csv === "timeline" && source().kind === "checkpoints" ? "checkpoints" : button.dataset.csv; element("a", null, { href: `csv/${name}?${query()}`, download: `explaind-${name}.csv` }).click(); });
  addEventListener("hashchange", () => { state = { run: sources[0].key, ...read() }; shownFor = {}; loadPredictions().then(refresh); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const [name, view] of Object.entries(views)) drawView(name, view); mark(); });
}

function others() {
  const runs = sources.filter((one) => one.kind === "run" && one.key !== state.run).map((one) => one.key);
  $("other-label").hidden = !runs.length || source().kind !== "run";
  fill($("other"), [["", "nothing"], ...runs], state.other ?? "");
}

async function begin() {
  const found = await (await fetch("api/sources")).json();
  sources = found.sources;
  state = { run: sources[0].key, ...read() };
  say(found.notes.join("\n"));
  document.title = `ExPLAIND: ${found.root}`;
  fill($("run"), sources.map((one) => [one.key, one.key === "." ? found.root : one.key]), state.run);
  others();
  connect();
  await loadPredictions();
  await refresh();
  document.body.dataset.ready = "1";
}
begin();
