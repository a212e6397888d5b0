// Keeps a page live: fragments are rendered by the server; this only asks for them and puts them in place.
"use strict";

const body = document.body;
const byId = (id) => document.getElementById(id);
const CHARTED = ["monitor.quality", "monitor.window_closed", "model.version_created", "model.refused"];

async function get(url) {
  const response = await fetch(url, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response;
}

// At most one call at a time and one every `every` ms; whatever came meanwhile is answered by one more.
function calmly(work, every) {
  let running = false;
  let again = false;
  return async function call() {
    if (running) { again = true; return; }
    running = true;
    try { await work(); } catch (error) { console.warn(error); }
    setTimeout(() => {
      running = false;
      if (again) { again = false; call(); }
    }, every);
  };
}

// --- dashboard

async function refreshTimeline() {
  const list = byId("timeline");
  const after = list.firstElementChild ? list.firstElementChild.dataset.seq : "0";
  const fresh = document.createElement("template");
  fresh.innerHTML = await (await get(`/live/timeline?after=${after}`)).text();
  if (fresh.content.firstElementChild && byId("no-events")) byId("no-events").remove();
  list.prepend(fresh.content);
  while (list.children.length > Number(body.dataset.limit)) list.lastElementChild.remove();
}

async function refreshBoard() {
  const html = await (await get("/live/board")).text();
  const board = byId("board");
  const open = [...board.querySelectorAll("details[open]")].map((each) => each.id);
  board.innerHTML = html;
  for (const id of open) if (byId(id)) byId(id).open = true;
}

function follow() {
  const link = byId("link");
  const timeline = calmly(refreshTimeline, 400);
  const board = calmly(refreshBoard, 1000);
  const charts = calmly(drawCharts, 4000);
  const stream = new EventSource("/v1/events/stream");
  stream.onopen = () => { link.textContent = "Live"; timeline(); board(); };
  stream.onerror = () => { link.textContent = "Not connected, trying again"; };
  for (const type of body.dataset.types.split(" ")) {
    stream.addEventListener(type, () => {
      timeline();
      board();
      if (CHARTED.includes(type)) charts();
    });
  }
}

// --- charts

let loading = null; // the library itself makes the globals vega, vegaLite and vegaEmbed
function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = body.dataset.vega;
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = () => { loading = null; reject(new Error("the chart library did not load")); };
    document.head.append(script);
  });
  return loading;
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: color("--quiet"), titleColor: color("--quiet"), labelFontSize: 11, titleFontWeight: "normal" };
  const axis = { ...text, gridColor: color("--line"), domainColor: color("--line"), tickColor: color("--line") };
  return { axis, legend: text, font: "system-ui, sans-serif" };
}

const views = new Map();
const drawn = new Map();
async function drawCharts() {
  const specs = new Map();
  for (const place of document.querySelectorAll("[data-charts]")) {
    const url = place.dataset.charts;
    if (!specs.has(url)) specs.set(url, await (await get(url)).json());
    const spec = specs.get(url)[place.dataset.chart];
    const text = JSON.stringify(spec);
    if (!spec || drawn.get(place) === text) continue;
    const embed = await library();
    if (views.has(place)) views.get(place).finalize();
    const options = { actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true }, config: look() };
    views.set(place, await embed(place, spec, options));
    drawn.set(place, text);
  }
}

// --- a run

async function followRun() {
  const steps = byId("steps");
  for (const log of document.querySelectorAll("[data-log]")) {
    const chunk = await (await get(`${log.dataset.log}&offset=${log.dataset.offset}`)).json();
    if (!chunk.text) continue;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(chunk.text);
    log.dataset.offset = chunk.next_offset;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
  steps.innerHTML = await (await get(steps.dataset.src)).text();
  return steps.querySelector("[data-run]").dataset.run === "running";
}

async function followRuns() {
  let running = true;
  try { running = await followRun(); } catch (error) { console.warn(error); }
  if (running) setTimeout(followRuns, 1000);
  else location.reload();
}

for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
if (document.querySelector("[data-charts]")) {
  drawCharts().catch((error) => console.warn(error));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawn.clear(); drawCharts(); });
}
if (body.dataset.live === "dashboard") follow();
if (body.dataset.live === "run") followRuns();
