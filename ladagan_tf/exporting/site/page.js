// The page: controls, canvases, and requests to the worker that makes the images.

import { parseSeed, MAX_SEED } from "./latents.js";

const at = (id) => document.getElementById(id);
const LATE_MS = 3000; // how long is waited for what the page can do without
// Half of the cores, as onnxruntime-web takes: the others draw, and serve the visitor.
const THREADS = Math.min(4, Math.ceil((navigator.hardwareConcurrency || 1) / 2));
const STEP = 2; // per cent of a walk that plays
const GAP = 2; // pixels between the images of a saved grid

let about, worker;
const waiting = new Map(); // id of a request -> what to do with its answer
let requests = 0;

function say(text) {
  at("message").textContent = text;
  at("message").hidden = !text;
}

function fail(error) {
  at("loading").hidden = true;
  at("status").textContent = "";
  say(error.message);
}

function late() {
  return new Promise((done) => setTimeout(done, LATE_MS));
}

// Whether there is a GPU to compute on; ?wasm in the address asks for none.
async function hasGpu() {
  if (!navigator.gpu || new URLSearchParams(location.search).has("wasm")) return false;
  const asked = navigator.gpu.requestAdapter().catch(() => null);
  const adapter = await Promise.race([asked, late()]);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

// Waits until the service worker keeps what is fetched from now on; whether it does.
async function keep() {
  const container = navigator.serviceWorker;
  if (!container) return false;
  const controlled = new Promise((done) => container.addEventListener("controllerchange", done));
  try {
    await container.register("service_worker.js");
    if (!container.controller) await Promise.race([controlled, late()]);
  } catch {
    // A private window, or a host without HTTPS: the page works, online only.
  }
  return Boolean(container.controller);
}

// Loads the page anew, once: then it has the service worker's headers, which threads need.
function begunAnew() {
  try {
    if (sessionStorage.getItem(location.pathname)) return false;
    sessionStorage.setItem(location.pathname, "begun anew");
  } catch {
    return false;
  }
  location.reload();
  return true;
}

async function begin() {
  const [response, gpu, kept] = await Promise.all([
    fetch("model.json").catch(() => null),
    hasGpu(),
    keep(),
  ]);
  if (!response?.ok) throw new Error("model.json is missing on this host.");
  about = await response.json();
  const isolates = !gpu && THREADS > 1 && kept && !crossOriginIsolated;
  if (isolates && begunAnew()) await new Promise(() => {});
  worker = new Worker("worker.js", { type: "module" });
  const ready = new Promise((done, failed) => {
    worker.onmessage = ({ data }) => {
      if (data.megabytes)
        at("status").textContent = `The model is loading: ${data.megabytes.toFixed(1)} MB.`;
      else if (data.loaded !== undefined) at("loading").value = data.loaded;
      else if (data.moved) at("moved").textContent = `The GPU could not run it (${data.moved}).`;
      else if (data.ready) done(data);
      else if (data.id === undefined) failed(new Error(data.error));
      else {
        const asked = waiting.get(data.id); // none once the worker has failed
        waiting.delete(data.id);
        data.error ? asked?.failed(new Error(data.error)) : asked?.done(data);
      }
    };
    // Also of what the worker catches nowhere: what is waited for then may never come.
    worker.onerror = (event) => {
      const error = new Error(event.message || "worker.js cannot be loaded.");
      failed(error);
      say(error.message);
      for (const asked of waiting.values()) asked.failed(error);
      waiting.clear();
    };
  });
  worker.postMessage({ about, gpu, threads: crossOriginIsolated ? THREADS : 1 });
  return ready;
}

// An image: resolves to {pixels, maps}.
function ask(request) {
  const id = requests++;
  return new Promise((done, failed) => {
    waiting.set(id, { done, failed });
    worker.postMessage({ id, ...request, label: label(request.from), psi: Number(at("psi").value) });
  });
}

function label(seed) {
  const { length } = about.classes;
  if (!length) return 0;
  const chosen = at("class").value;
  return chosen === "" ? Number(seed % BigInt(length)) : Number(chosen);
}

// The seed in a field, or null after saying what is wrong with it.
function seedOf(field) {
  const seed = parseSeed(field.value);
  field.setAttribute("aria-invalid", String(seed === null));
  if (seed === null) {
    say(`The seed '${field.value}' is not a whole number from 0 to ${MAX_SEED}.`);
    field.focus();
  }
  return seed;
}

function draw(canvas, pixels) {
  const side = about.resolution;
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
}

// As pictures.attention_sheet: grey under colours, dark where the weight is smallest.
function overlay(pixels, weights, tokens) {
  const side = about.resolution;
  const low = weights.reduce((a, b) => Math.min(a, b));
  const high = weights.reduce((a, b) => Math.max(a, b));
  const mixed = new Uint8ClampedArray(pixels);
  for (let i = 0; i < side * side; i++) {
    const row = Math.floor((Math.floor(i / side) * tokens) / side);
    const column = Math.floor(((i % side) * tokens) / side);
    const share = (weights[row * tokens + column] - low) / (high > low ? high - low : 1);
    const colour = colours[Math.floor(share * 255)];
    const grey = (pixels[4 * i] + pixels[4 * i + 1] + pixels[4 * i + 2]) / 3;
    for (let c = 0; c < 3; c++) mixed[4 * i + c] = Math.floor(0.35 * grey + 0.65 * colour[c]);
  }
  return mixed;
}

let colours = [];
let shown = null; // what is drawn closer: {seed, pixels, maps}

function drawCloser() {
  const { seed, pixels, maps } = shown;
  const look = at("look").value;
  at("chosen").textContent = seed;
  if (look === "") return draw(at("closer"), pixels);
  const [map, head] = look.split(" ").map(Number);
  const tokens = about.attention[map].side;
  const weights = maps[map].subarray(head * tokens ** 2, (head + 1) * tokens ** 2);
  draw(at("closer"), overlay(pixels, weights, tokens));
}

function choose(tile) {
  for (const other of at("grid").children) other.setAttribute("aria-pressed", other === tile);
  if (tile.image) {
    shown = tile.image;
    drawCloser();
  }
}

let current = 0; // the number of the newest grid: an older one stops

let shownFirst = 0n; // the seed of the first image of the grid
async function drawGrid() {
  const first = seedOf(at("first"));
  if (first === null) return;
  const count = Number(at("count").value);
  if (first + BigInt(count) - 1n > MAX_SEED) return say(`Seeds end at ${MAX_SEED}.`);
  say("");
  const mine = ++current;
  shownFirst = first;
  const grid = at("grid");
  const tiles = Array.from({ length: count }, (_, i) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.setAttribute("aria-label", `Seed ${first + BigInt(i)}`);
    tile.append(document.createElement("canvas"));
    tile.firstChild.className = "waiting";
    tile.firstChild.width = tile.firstChild.height = about.resolution;
    tile.onclick = () => choose(tile);
    return tile;
  });
  grid.style.gridTemplateColumns = `repeat(${Math.ceil(Math.sqrt(count))}, 1fr)`;
  grid.replaceChildren(...tiles);
  grid.setAttribute("aria-busy", "true");
  choose(tiles[0]);
  for (const [i, tile] of tiles.entries()) {
    const seed = first + BigInt(i);
    const image = await ask({ from: seed });
    if (mine !== current) return;
    tile.image = { seed, ...image };
    draw(tile.firstChild, image.pixels);
    tile.firstChild.className = "";
    if (tile.getAttribute("aria-pressed") === "true") choose(tile);
  }
  grid.setAttribute("aria-busy", "false");
}

let walking = null; // the walk being drawn, and whether another one is wanted after it
let wanted = false;

function drawBetween() {
  at("position-value").textContent = at("position").value;
  wanted = true;
  walking ??= (async () => {
    while (wanted) {
      wanted = false;
      const from = seedOf(at("from"));
      const to = from === null ? null : seedOf(at("to"));
      if (to === null) break;
      say("");
      const canvas = at("between");
      canvas.setAttribute("aria-busy", "true");
      const { pixels } = await ask({ from, to, t: Number(at("position").value) / 100 });
      draw(canvas, pixels);
      canvas.setAttribute("aria-busy", "false");
    }
  })().finally(() => (walking = null));
  return walking;
}

let playing = 0;
async function play() {
  const button = at("play");
  const begins = button.getAttribute("aria-pressed") === "false";
  button.setAttribute("aria-pressed", String(begins));
  const mine = ++playing; // an image of a walk before this one may still be on its way
  let direction = STEP;
  while (mine === playing && button.getAttribute("aria-pressed") === "true") {
    const position = Number(at("position").value);
    if (position + direction > 100 || position + direction < 0) direction = -direction;
    at("position").value = position + direction;
    try {
      await drawBetween();
    } catch (error) {
      button.setAttribute("aria-pressed", "false");
      throw error;
    }
    await new Promise((done) => setTimeout(done, 40));
    if (at("from").matches("[aria-invalid=true]") || at("to").matches("[aria-invalid=true]"))
      button.setAttribute("aria-pressed", "false");
  }
}

function save(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

// The images side by side, as pictures.grid.
function saveGrid() {
  const tiles = [...at("grid").children];
  const columns = Math.ceil(Math.sqrt(tiles.length));
  const step = about.resolution + GAP;
  const sheet = document.createElement("canvas");
  sheet.width = columns * step - GAP;
  sheet.height = Math.ceil(tiles.length / columns) * step - GAP;
  const context = sheet.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, sheet.width, sheet.height);
  tiles.forEach((tile, i) =>
    context.drawImage(tile.firstChild, (i % columns) * step, Math.floor(i / columns) * step),
  );
  save(sheet, `seeds-${shownFirst}`);
}

function show() {
  about.classes.forEach((name, i) => at("class").add(new Option(name, i)));
  at("class-of").hidden = !about.classes.length;
  at("psi-of").hidden = !about.psi;
  at("choices").hidden = !about.classes.length && !about.psi;
  about.attention.forEach(({ side, heads }, map) => {
    for (let head = 0; head < heads; head++)
      at("look").add(new Option(`${side} x ${side}, head ${head + 1}`, `${map} ${head}`));
  });
  at("look-of").hidden = !about.attention.length;
  const bytes = about.colours.match(/../g)?.map((text) => parseInt(text, 16)) ?? [];
  colours = Array.from({ length: bytes.length / 3 }, (_, i) => bytes.slice(3 * i, 3 * i + 3));
  at("loading").hidden = true;
  at("use").hidden = false;
}

function act(work) {
  return (event) => {
    event?.preventDefault();
    Promise.resolve(work()).catch((error) => say(error.message));
  };
}

async function random() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  at("first").value = (BigInt(high) * 2n ** 32n + BigInt(low)) % 10n ** 9n;
  return drawGrid();
}

async function drawAll() {
  at("psi-value").textContent = at("psi").value;
  await Promise.all([drawGrid(), drawBetween()]);
}

try {
  const { gpu, threads } = await begin();
  show();
  at("seeds").onsubmit = act(drawGrid);
  at("count").onchange = act(drawGrid);
  at("random").onclick = act(random);
  at("save-grid").onclick = act(saveGrid);
  at("look").onchange = act(drawCloser);
  at("save-closer").onclick = act(() => save(at("closer"), `seed-${at("chosen").textContent}`));
  at("walk").onsubmit = act(drawBetween);
  for (const id of ["from", "to"]) at(id).onchange = act(drawBetween);
  at("position").oninput = act(drawBetween);
  at("play").onclick = act(play);
  at("save-between").onclick = act(() =>
    save(at("between"), `between-${at("from").value}-${at("to").value}`),
  );
  for (const id of ["class", "psi"]) at(id).onchange = act(drawAll);
  at("psi").oninput = () => (at("psi-value").textContent = at("psi").value);
  const where = gpu ? ", on the GPU" : threads > 1 ? `, in ${threads} threads` : "";
  at("status").textContent = `The model is ready${where}.`;
  await drawAll();
} catch (error) {
  fail(error);
}
