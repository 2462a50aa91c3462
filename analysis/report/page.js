// Tables that sort, packed tables that open and are saved as csv, and curves that can be chosen from.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const ROWS = 100; // of a packed table that are shown at a time
const MEAN = -1; // in place of a seed

// An element; attributes whose names begin with "on" are listeners, names with "svg:" are of SVG.
function make(name, given = {}, ...inside) {
  const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
}

// The text that lies packed in an element of the page: gzip in base64.
function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// --- tables -----------------------------------------------------------------------------------------

// Makes each head a button that sorts `rows` by value(row, column) and shows them.
function sortable(table, rows, value, show) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((one, other) => order(value(one, column), value(other, column), up ? 1 : -1));
      show();
    };
    head.append(make("button", { type: "button", onclick: sort }, ...head.childNodes));
  });
}

// Numbers by size, words by the alphabet; empty cells last, up or down.
function order(one, other, sign) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const [a, b] = [Number(one), Number(other)];
  return sign * (Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b);
}

// Rows of the text of a csv, its head among them.
function parsed(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== "," && end !== "") rows.push([]);
  }
  return rows.slice(0, -1);
}

function shortened(text) {
  return /^-?\d*\.\d{5,}(e-?\d+)?$/.test(text) ? String(Number(Number(text).toPrecision(4))) : text;
}

// Builds the table of a <details data-table> when it is opened first.
async function fill(details) {
  const source = `table-${details.dataset.table}`;
  const text = await unpacked(source);
  const [columns, ...all] = parsed(text);
  // A column that is the same in every row says nothing here; the file has it.
  const some = columns.map((_, column) => column).filter((column) => all.some((row) => row[column] !== all[0][column]));
  const aligned = columns.map((_, column) => ({ class: all.some((row) => Number.isNaN(Number(row[column]))) ? "text" : "" }));
  const head = make("tr", {}, ...some.map((column) => make("th", aligned[column], columns[column])));
  const table = make("table", {}, make("thead", {}, head), make("tbody"));
  const count = make("span", { class: "soft", role: "status" });
  const more = make("button", { type: "button", class: "plain", onclick: () => show((shown += 10 * ROWS)) }, "more rows");
  let shown = ROWS;
  let words = [];
  function show() {
    const found = all.filter((row) => words.every((word) => row.some((cell) => cell.toLowerCase().includes(word))));
    const cells = (row) => some.map((column) => make("td", { title: row[column], ...aligned[column] }, shortened(row[column])));
    table.tBodies[0].replaceChildren(...found.slice(0, shown).map((row) => make("tr", {}, ...cells(row))));
    count.textContent = `${Math.min(shown, found.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} rows`;
    more.hidden = shown >= found.length;
  }
  const search = (event) => {
    words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = ROWS;
    show();
  };
  const save = () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
    link.download = document.getElementById(source).dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  sortable(table, all, (row, column) => row[some[column]], show);
  show();
  details.append(
    make("div", { class: "bar" },
      make("button", { type: "button", class: "plain save", onclick: save }, "save as csv"),
      make("input", { type: "search", placeholder: "rows with …", "aria-label": "rows with these words", oninput: search }),
      more, count),
    make("div", { class: "wide", tabindex: 0 }, table));
}

// --- curves -----------------------------------------------------------------------------------------

async function curves(form, plot) {
  const tasks = JSON.parse(await unpacked("packed-curves"));
  const boxes = [...form.querySelectorAll("[name=method]")];
  const looks = Object.fromEntries(boxes.map((box) => [box.value, JSON.parse(box.dataset.look)]));
  const said = plot.querySelector("output");
  const task = () => tasks[form.task.value];

  // The lists of an evaluation; what was chosen stays chosen where it is there as well.
  function offer() {
    const seeds = [...new Set(task().rows.map((row) => row[3]))].sort((a, b) => a - b);
    const lists = { metric: task().metrics, place: task().places, seed: seeds };
    for (const [name, list] of Object.entries(lists)) {
      const before = form[name].selectedOptions[0]?.text;
      const text = (each) => (name !== "seed" ? each : each === MEAN ? (seeds.length > 1 ? `mean of ${seeds.length - 1}` : "1") : `seed ${each}`);
      const options = list.map((each, place) => new Option(text(each), name === "seed" ? each : place));
      form[name].replaceChildren(...options);
      const again = options.find((option) => option.text === before);
      if (again) again.selected = true;
    }
    for (const box of boxes) box.closest("label").hidden = !task().methods.includes(box.value);
    for (const each of document.querySelectorAll("[data-of]")) each.hidden = each.dataset.of !== form.task.value;
  }

  function draw() {
    const [metric, place, seed] = ["metric", "place", "seed"].map((name) => Number(form[name].value));
    const chosen = boxes.filter((box) => box.checked && task().methods.includes(box.value)).map((box) => box.value);
    const rows = task().rows.filter((row) => row[0] === metric && row[1] === place && row[3] === seed);
    const series = chosen.map((name) => {
      const own = rows.filter((row) => task().methods[row[2]] === name).sort((a, b) => a[4] - b[4]);
      return { name, look: looks[name], points: own.map(([, , , , dim, value, low, high, n]) => ({ dim, value, low, high, n })) };
    }).filter((each) => each.points.length);
    said.textContent = "";
    plot.classList.remove("some");
    plot.querySelector("svg")?.remove();
    const least = form.zoom?.checked ? series.find((each) => each.name === "mrl")?.points : null;
    plot.prepend(picture(series, task().metrics[metric], plot, said, least));
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "task") offer();
    draw();
  });
  for (const button of form.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => {
      for (const box of boxes) box.checked = { all: true, none: false, paper: looks[box.value].paper }[button.dataset.choose];
      draw();
    });
  }
  offer();
  if (!boxes.some((box) => box.checked)) boxes.forEach((box) => (box.checked = true));
  draw();
  addEventListener("resize", draw);
}

// An SVG of curves against size, log₂, with bars; says what the pointer or the tab key is at. Its axis begins
// below the lowest of the points `least` where they are given.
function picture(series, title, plot, said, least) {
  const width = Math.max(280, plot.clientWidth);
  const [height, left, right, top, bottom] = [width < 500 ? 320 : 430, 46, 14, 24, 44];
  const points = series.flatMap((each) => each.points);
  const dims = [...new Set(points.map((each) => each.dim))].sort((a, b) => a - b);
  const ends = [Math.min(...(least ?? points).map((each) => each.low)), Math.max(...points.map((each) => each.high))];
  const room = 0.04 * (ends[1] - ends[0]) || 1;
  const [low, high] = points.length ? [ends[0] - room, ends[1] + room] : [0, 1];
  const span = Math.log2(dims.at(-1) / dims[0]) || 1;
  const x = (dim) => left + 10 + (Math.log2(dim / dims[0]) / span) * (width - left - right - 20);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${title} against size` });
  const frame = { x: left, y: 0, width: width - left, height: height - bottom };
  svg.append(make("svg:clipPath", { id: "frame" }, make("svg:rect", frame)));
  const text = (of, given) => svg.append(make("svg:text", { class: "axis", ...given }, of));
  const step = [1, 2, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10((high - low) / 5))).find((each) => (high - low) / each <= 7);
  for (let place = Math.ceil(low / step); place * step <= high; place++) {
    svg.append(make("svg:line", { class: "grid", x1: left, x2: width - right, y1: y(place * step), y2: y(place * step) }));
    text(String(Number((place * step).toPrecision(6))), { x: left - 6, y: y(place * step) + 4, "text-anchor": "end" });
  }
  let last = -Infinity;
  for (const dim of dims) {
    if (x(dim) - last < 26) continue; // no room for its number
    last = x(dim);
    text(dim, { x: last, y: height - bottom + 18, "text-anchor": "middle" });
  }
  text(title.replace("\n", " "), { x: 4, y: 14 });
  text("representation size (dimensions)", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" });
  const shown = (each) => `${each.value.toFixed(1)} [${each.low.toFixed(1)}, ${each.high.toFixed(1)}], n = ${Math.round(each.n).toLocaleString("en")}`;

  function say(curve, words, at) {
    plot.classList.toggle("some", curve !== null);
    for (const each of svg.querySelectorAll(".curve")) each.classList.toggle("on", each === curve);
    said.textContent = words;
    said.style.left = `${Math.max(0, Math.min(at[0] + 12, width - said.offsetWidth))}px`;
    said.style.top = `${at[1] > height / 2 ? at[1] - said.offsetHeight - 12 : at[1] + 12}px`;
  }

  const places = [];
  for (const { look, points: own } of series) {
    const path = own.map((each, i) => `${i ? "L" : "M"}${x(each.dim).toFixed(1)} ${y(each.value).toFixed(1)}`).join("");
    const bars = own.map((each) => `M${x(each.dim).toFixed(1)} ${y(each.low).toFixed(1)}V${y(each.high).toFixed(1)}`).join("");
    const words = `${look.label}. ${own.map((each) => `${each.dim}: ${shown(each)}`).join("; ")}`;
    const curve = make("svg:g", { class: "curve", tabindex: 0, role: "img", "aria-label": words, "clip-path": "url(#frame)", onblur: () => say(null, "", [0, 0]) },
      make("svg:path", { d: path, fill: "none", stroke: look.color, "stroke-width": 2, "stroke-dasharray": look.dash }),
      make("svg:path", { d: bars, stroke: look.color, "stroke-width": 1.2, opacity: 0.6 }),
      ...own.map((each) => make("svg:path", { d: look.marker, fill: look.color, transform: `translate(${x(each.dim)} ${y(each.value)}) scale(9)` })));
    curve.addEventListener("focus", () => say(curve, words, [left, top]));
    svg.append(curve);
    for (const each of own.filter((each) => each.value >= low)) places.push({ curve, at: [x(each.dim), y(each.value)], words: `${look.label} at ${each.dim}: ${shown(each)}` });
  }
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const here = [event.clientX - box.left, event.clientY - box.top].map((each) => (each * width) / box.width);
    const far = (each) => Math.hypot(each.at[0] - here[0], each.at[1] - here[1]);
    const nearest = places.reduce((one, other) => (one && far(one) <= far(other) ? one : other), null);
    if (nearest && far(nearest) < 40) say(nearest.curve, nearest.words, nearest.at);
    else say(null, "", [0, 0]);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", () => say(null, "", [0, 0]));
  return svg;
}

// --- start ------------------------------------------------------------------------------------------

for (const table of document.querySelectorAll("table.sortable")) {
  const rows = [...table.tBodies[0].rows];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  sortable(table, rows, value, () => table.tBodies[0].replaceChildren(...rows));
}
const packed = [...document.querySelectorAll("details[data-table]")];
const [form, plot] = [document.getElementById("chosen"), document.getElementById("plot")];
if (typeof DecompressionStream === "undefined") {
  for (const each of [...packed, ...(plot ? [plot] : [])]) each.append("This browser is too old to unpack it; a newer one can.");
} else {
  for (const details of packed) details.addEventListener("toggle", () => fill(details), { once: true });
  if (form) curves(form, plot);
}
