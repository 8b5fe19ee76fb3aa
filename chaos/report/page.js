"use strict";
// Draws the report from the JSON beside it. No library, no network.
const doc = JSON.parse(document.getElementById("document").textContent);
const LEFT = 96, RIGHT = 12, WIDTH = 1200;
let view = [0, doc.seconds];

function make(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return node;
}
function canvas(height) { return make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, height: "auto" }); }
function x(time) { return LEFT + (time - view[0]) / (view[1] - view[0]) * (WIDTH - LEFT - RIGHT); }
function seconds(value) {
  return value >= 10 ? `${value.toFixed(1)} s` : value >= 0.1 || value === 0 ? `${value.toFixed(2)} s` : `${(value * 1000).toFixed(3)} ms`;
}

function bar(svg, from, to, y, height, style, title) {
  if (to < view[0] || from > view[1]) return null;
  const left = Math.max(LEFT, x(from)), right = Math.min(WIDTH - RIGHT, x(to));
  const node = make("rect", { x: left.toFixed(2), y, width: Math.max(0.7, right - left).toFixed(2), height, class: style });
  if (title) node.appendChild(make("title", {}, title));
  svg.appendChild(node);
  return node;
}
function axis(svg, top, bottom) {
  for (let part = 0; part <= 8; part++) {
    const time = view[0] + part / 8 * (view[1] - view[0]);
    svg.appendChild(make("line", { x1: x(time), x2: x(time), y1: top, y2: bottom, class: "grid" }));
    svg.appendChild(make("text", { x: x(time), y: bottom + 13, "text-anchor": "middle" }, seconds(time)));
  }
}

function timeline() {
  const memberHeight = 20, laneHeight = Math.max(7, Math.min(14, 340 / Math.max(1, doc.lanes.length)));
  const top = doc.members.length * memberHeight + 8, bottom = top + doc.lanes.length * laneHeight + 4;
  const svg = canvas(bottom + 20);
  axis(svg, 0, bottom);
  doc.members.forEach((member, row) => {
    const y = row * memberHeight;
    svg.appendChild(make("text", { x: 0, y: y + 13 }, member.name.slice(0, 15)));
    for (const [from, to, term] of member.led) bar(svg, from, to, y + 2, memberHeight - 5, "led", `${member.name} leads in term ${term}`);
    for (const [from, to, name, recovered] of member.faults) {
      if (recovered !== null) bar(svg, to, recovered, y + 6, memberHeight - 13, "recovering", `${name} is healed; a write succeeds ${seconds(recovered - to)} later`);
      const shown = bar(svg, from, to, y + 6, memberHeight - 13, "fault", `${name} of ${member.name}, ${seconds(from)} to ${seconds(to)}`);
      if (shown && +shown.getAttribute("width") > name.length * 6) svg.appendChild(make("text", { x: +shown.getAttribute("x") + 2, y: y + 14, "font-size": 9 }, name));
    }
  });
  doc.lanes.forEach((lane, row) => {
    const y = top + row * laneHeight;
    if (row % 2) svg.appendChild(make("rect", { x: LEFT, y, width: WIDTH - LEFT - RIGHT, height: laneHeight, class: "stripe" }));
    if (laneHeight > 9 || row % 2 === 0) svg.appendChild(make("text", { x: 0, y: y + laneHeight - 1, "font-size": Math.min(11, laneHeight + 1) }, lane.name));
    for (const [from, to, outcome, text] of lane.marks) bar(svg, from, to, y + 1, laneHeight - 2, doc.outcomes[outcome], `${text}\n${doc.outcomes[outcome]}, ${seconds(from)} to ${seconds(to)}`);
  });
  replace("timeline", svg);
  enlarge(svg, bottom);
}
function enlarge(svg, bottom) {
  let begun = null, shade = null;
  const time = event => {
    const box = svg.getBoundingClientRect(), place = (event.clientX - box.left) / box.width * WIDTH;
    return view[0] + Math.min(1, Math.max(0, (place - LEFT) / (WIDTH - LEFT - RIGHT))) * (view[1] - view[0]);
  };
  svg.onpointerdown = event => { begun = time(event); shade = make("rect", { y: 0, height: bottom, class: "select" }); svg.appendChild(shade); };
  svg.onpointermove = event => {
    if (begun === null) return;
    const [from, to] = [begun, time(event)].sort((a, b) => a - b);
    shade.setAttribute("x", x(from)); shade.setAttribute("width", x(to) - x(from));
  };
  svg.onpointerup = event => {
    if (begun === null) return;
    const [from, to] = [begun, time(event)].sort((a, b) => a - b);
    begun = null; shade.remove();
    if (to - from > (view[1] - view[0]) / 200) { view = [from, to]; draw(); }
  };
  svg.ondblclick = () => { view = [0, doc.seconds]; draw(); };
}

function plot(id, lines, isArea) {
  const height = 150, svg = canvas(height + 20), width = doc.buckets.width;
  axis(svg, 0, height);
  for (const member of doc.members) for (const [from, to] of member.faults) bar(svg, from, to, 0, height, "shade");
  const inView = values => values.map((value, place) => [place * width, value]).filter(([time]) => time + width >= view[0] && time <= view[1]);
  const most = Math.max(1e-9, ...lines.flatMap(line => inView(line.values).map(([, value]) => value || 0)));
  const scale = isArea ? value => height - value / most * (height - 10)
                       : value => height - Math.log10(1 + value * 100) / Math.log10(1 + most * 100) * (height - 10);
  const ticks = isArea ? [most, most / 2] : [most, most / 10, most / 100, most / 1000];
  for (const value of ticks) svg.appendChild(make("text", { x: LEFT - 6, y: scale(value) + 4, "text-anchor": "end" }, value >= 10 ? Math.round(value) : value.toPrecision(2)));
  if (isArea) {
    const below = doc.buckets.p50.map(() => 0);
    for (const line of lines) inView(line.values).forEach(([time, value]) => {
      const place = Math.round(time / width), from = scale(below[place] + value), to = scale(below[place]);
      const node = bar(svg, time, time + width, from, Math.max(0, to - from), line.style, `${line.name}: ${value.toFixed(1)} a second`);
      if (node && value) below[place] += value;
    });
  } else {
    for (const line of lines) {
      let path = "", isDown = false;
      for (const [time, value] of inView(line.values)) {
        if (value === null) { isDown = false; continue; }
        path += `${isDown ? "L" : "M"}${Math.max(LEFT, x(time + width / 2)).toFixed(1)} ${scale(value).toFixed(1)}`;
        isDown = true;
      }
      svg.appendChild(make("path", { d: path, class: `line ${line.style}`, style: "background:none" }));
    }
  }
  replace(id, svg);
}

function drawWindow(found) {
  const clients = [...new Set(found.requests.map(request => request.client))].sort((a, b) => a - b);
  const rowHeight = 84, height = clients.length * rowHeight + 24;
  const svg = canvas(height), span = WIDTH - LEFT - 150;
  const at = order(found), rows = clients.map((client, row) => row * rowHeight + 40);
  const place = moment => LEFT + at(moment) * span;
  clients.forEach((client, row) => {
    svg.appendChild(make("line", { x1: LEFT, x2: WIDTH, y1: rows[row] + 11, y2: rows[row] + 11, class: "grid" }));
    svg.appendChild(make("text", { x: 0, y: rows[row] + 15 }, `client ${client}`));
  });
  const arrows = svg.appendChild(make("g", {}));
  const boxes = found.requests.map((request, number) => {
    const y = rows[clients.indexOf(request.client)], left = place(request.from);
    const isOpen = request.outcome === "unknown", right = isOpen ? WIDTH - 4 : Math.max(left + 16, place(request.to));
    const group = make("g", { class: `request ${request.outcome}` });
    group.appendChild(make("rect", { x: left, y, width: right - left, height: 22 }));
    group.appendChild(make("text", { x: left + 5, y: y + 15, class: "letter" }, letter(number)));
    group.appendChild(make("text", { x: left + 2, y: y + 36 }, request.label.slice(0, 64) + (request.revision ? `  @${request.revision}` : "")));
    group.appendChild(make("title", {}, `${request.label}\n${request.outcome}, ${seconds(request.from)} to ${isOpen ? "?" : seconds(request.to)}`));
    svg.appendChild(group);
    return { left, right, y };
  });
  const marker = make("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  marker.appendChild(make("path", { d: "M0 0 L8 4 L0 8 z", fill: "#b3261e" }));
  svg.appendChild(marker);
  found.edges.forEach((edge, number) => arrow(arrows, boxes[edge.before], boxes[edge.after], edge, number));
  return svg;
}
// Moments stand in their order, half by rank and half by time, so that a long wait does not hide what is near together.
function order(found) {
  const moments = [...new Set(found.requests.flatMap(request => [request.from, request.to]))].sort((a, b) => a - b);
  const rank = new Map(moments.map((moment, number) => [moment, number / Math.max(1, moments.length - 1)]));
  return moment => 0.7 * rank.get(moment) + 0.3 * moment / found.seconds;
}
function arrow(svg, from, to, edge, number) {
  const isForward = to.left > from.left, isTime = edge.why === "rt";
  const x1 = isTime ? from.right : (from.left + Math.min(from.right, from.left + 90)) / 2 + (number % 3) * 8;
  const x2 = isTime ? to.left : (to.left + Math.min(to.right, to.left + 90)) / 2 + (number % 3) * 8;
  const isDown = to.y > from.y, isLevel = to.y === from.y;
  const y1 = isTime ? from.y + 11 : isLevel || !isDown ? from.y : from.y + 22;
  const y2 = isTime ? to.y + 11 : isLevel || isDown ? to.y : to.y + 22;
  const bend = isLevel && !isTime ? 26 + (number % 3) * 6 : 0, middle = (x1 + x2) / 2;
  const style = edge.inCircle ? " circle" : "";
  const path = make("path", { d: `M${x1} ${y1} Q${middle} ${(y1 + y2) / 2 - bend * 1.6} ${x2} ${y2}`, class: "arrow" + style });
  if (edge.inCircle) path.setAttribute("marker-end", "url(#head)");
  svg.appendChild(path);
  const text = isTime ? "before, in time" : `${edge.why} ${edge.key}`;
  const part = isLevel ? 0.5 : isTime ? 0.25 : 0.62;  // so that the texts of two arrows that cross do not
  svg.appendChild(make("text", {
    x: x1 + part * (x2 - x1) + (isForward ? 6 : -6), y: y1 + part * (y2 - y1) - bend * 0.8 - 3,
    "text-anchor": isForward ? "start" : "end", class: "why" + style,
  }, text));
}
function letter(place) { return String.fromCharCode(65 + place % 26) + (place >= 26 ? Math.floor(place / 26) : ""); }
function paragraph(text, style) { const node = document.createElement("p"); node.className = style; node.textContent = text; return node; }
function replace(id, svg) { document.getElementById(id).replaceChildren(svg); }

function drawWindows() {
  const section = document.getElementById("windows");
  section.hidden = !doc.windows.length;
  for (const found of doc.windows) {
    const box = document.createElement("div");
    box.className = "window";
    const head = document.createElement("h3");
    head.textContent = found.title;
    box.append(head, paragraph(found.text, "reason"), drawWindow(found));
    if (found.why.length) {
      box.append(paragraph("Each of these must come before the next, and the last before the first:", "reason"));
      const list = document.createElement("ol");
      for (const text of found.why) { const item = document.createElement("li"); item.textContent = text; list.appendChild(item); }
      box.appendChild(list);
    }
    section.appendChild(box);
  }
}
function draw() {
  timeline();
  plot("rates", doc.outcomes.map(name => ({ name, style: name, values: doc.buckets.rates[name] })), true);
  plot("latency", ["worst", "p99", "p50"].map(name => ({ name, style: name, values: doc.buckets[name] })), false);
}
if (doc.shown < doc.total) document.getElementById("sample").textContent = `${doc.shown.toLocaleString()} of ${doc.total.toLocaleString()} requests are drawn.`;
drawWindows();
draw();
