// Draws the latency of the last minute: stages stacked up to a result's age.
"use strict";

const STACK = ["prepare", "invoke", "decode", "waiting"];
const LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 26;
const SECONDS = 60;

// Returns the stacked columns, in ms: what of the age is none of the stages' is waiting.
function columnsOf(history) {
  const stages = ["prepare", "invoke", "decode"].map((name) => history[name] || []);
  return (history.total || []).map((total, at) => {
    const parts = stages.map((values) => values[at] || 0);
    const sum = parts.reduce((one, other) => one + other, 0);
    return { parts: [...parts, Math.max(0, total - sum)], total, empty: !(history.fps || [])[at] };
  });
}

// Returns a step of 1, 2 or 5 times a power of ten that divides the axis into about four.
function niceStep(top) {
  const power = 10 ** Math.floor(Math.log10(top / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => top / step <= 5) || 10 * power;
}

function drawChart(canvas, history) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) { return; }
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";

  const columns = columnsOf(history);
  const highest = Math.max(1, ...columns.map((column) => Math.max(column.total, column.parts.reduce((a, b) => a + b, 0))));
  const step = niceStep(highest * 1.05), top = Math.ceil((highest * 1.05) / step) * step;
  const across = (second) => LEFT + ((SECONDS - second) / SECONDS) * (width - LEFT - RIGHT);
  const up = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);

  context.textBaseline = "middle";
  context.textAlign = "right";
  for (let value = 0; value <= top + step / 2; value += step) {
    context.fillStyle = colour("line");
    context.fillRect(LEFT, Math.round(up(value)), width - LEFT - RIGHT, 1);
    context.fillStyle = colour("muted");
    context.fillText(value >= top - step / 2 ? `${label(value, step)} ms` : label(value, step), LEFT - 6, up(value));
  }
  context.textBaseline = "alphabetic";
  for (const second of [60, 45, 30, 15, 0]) {
    context.textAlign = second === 60 ? "left" : second === 0 ? "right" : "center";
    context.fillText(second ? `−${second} s` : "now", across(second), height - 8);
  }
  for (const run of runsOf(columns)) {
    drawRun(context, run, { across, up, colour, count: columns.length });
  }
  canvas.dataset.columns = String(columns.length);
}

function label(value, step) {
  return step < 1 ? value.toFixed(1) : String(Math.round(value));
}

// Returns stretches of seconds in which there were predictions: gaps stay gaps.
function runsOf(columns) {
  const runs = [];
  let run = null;
  columns.forEach((column, at) => {
    if (column.empty) { run = null; return; }
    if (!run) { run = []; runs.push(run); }
    run.push({ at, ...column });
  });
  return runs;
}

function drawRun(context, run, { across, up, colour, count }) {
  const x = (point) => across(count - point.at - 0.5);
  const last = run[run.length - 1];
  const edges = run.length === 1 ? [across(count - run[0].at), across(count - run[0].at - 1)] : null;
  const trace = (values) => values.map((value, index) => [edges ? edges[index] : x(run[index]), up(value)]);
  const sums = run.map(() => 0);
  STACK.forEach((name, part) => {
    const floor = [...sums];
    run.forEach((point, index) => { sums[index] += point.parts[part]; });
    const upper = trace(edges ? [sums[0], sums[0]] : sums), lower = trace(edges ? [floor[0], floor[0]] : floor);
    context.beginPath();
    upper.forEach(([left, high], index) => (index ? context.lineTo(left, high) : context.moveTo(left, high)));
    lower.reverse().forEach(([left, high]) => context.lineTo(left, high));
    context.closePath();
    context.fillStyle = colour(name);
    context.fill();
  });
  context.beginPath();
  trace(edges ? [last.total, last.total] : run.map((point) => point.total))
    .forEach(([left, high], index) => (index ? context.lineTo(left, high) : context.moveTo(left, high)));
  context.strokeStyle = colour("total");
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.stroke();
}
