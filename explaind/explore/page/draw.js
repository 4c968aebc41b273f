// How views become visible; used by the page and by exported files alike.
"use strict";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plot(target, figure) {
  const layout = structuredClone(figure.layout);
  layout.font = { ...layout.font, color: css("--ink") };
  for (const key of Object.keys(layout).filter((k) => /^[xy]axis/.test(k))) {
    layout[key] = { gridcolor: css("--grid"), zerolinecolor: css("--soft"), linecolor: css("--line"), automargin: true, ...layout[key] };
  }
  for (const key of ["xaxis", "yaxis"]) layout[key] ??= { gridcolor: css("--grid"), zerolinecolor: css("--soft"), automargin: true };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: css("--back"), bordercolor: css("--line") };
  const data = structuredClone(figure.data);
  for (const trace of data) {
    if (trace.line?.color === "#000000") trace.line.color = css("--ink");
    if (trace.colorbar) trace.colorbar = { ...trace.colorbar, tickfont: { color: css("--ink") } };
  }
  const config = { responsive: true, displayModeBar: false };
  return Plotly.react(target, data, layout, config);
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const signed = (value) => (value >= 0 ? "+" : "−") + Math.abs(value).toPrecision(4);

function drawView(name, view) {
  const section = document.getElementById(name);
  section.querySelector(".words").textContent = view.words;
  const figure = section.querySelector(".figure");
  if (figure) {
    figure.hidden = !view.figure;
    if (view.figure) plot(figure, view.figure);
  }
  if (name === "total") {
    const list = section.querySelector("dl");
    list.replaceChildren();
    for (const [part, value] of view.rows) list.append(element("dt", part), element("dd", signed(value), { "data-part": part, "data-value": value }));
  }
  if (name === "samples") drawSamples(section.querySelector(".samples"), view);
  if (name === "certificate") {
    section.querySelector("tbody").replaceChildren(...view.rows.map((row) => { const line = element("tr"); line.append(...row.map((cell) => element("td", cell))); return line; }));
  }
}

function drawSamples(target, view) {
  target.replaceChildren();
  for (const side of ["helped", "harmed"]) {
    const chosen = view.rows.map((row, i) => [row, (view.shown ?? [])[i] ?? {}]).filter(([row]) => row[0] === side);
    if (!chosen.length) continue;
    const box = element("div", null, { class: side }), list = element("div", null, { class: "list" });
    box.append(element("h3", side === "helped" ? "helped most" : "harmed most"), list);
    for (const [[, , train, label, score], shown] of chosen) {
      const card = element("div", null, { class: "sample", "data-train": train, "data-score": score });
      if (shown.picture) card.append(element("img", null, { src: shown.picture, alt: `training sample ${train}` }));
      const text = [shown.text, label === null || label === undefined ? "" : `→ ${label}`].filter(Boolean).join(" ");
      card.append(element("div", text || `sample ${train}`), element("b", signed(score)), element("div", `no. ${train}`, { class: "words" }));
      list.append(card);
    }
    target.append(box);
  }
}
