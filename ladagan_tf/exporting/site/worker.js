// The model in a thread of its own: loads it, telling how far it is, then answers one request at a
// time. {about, gpu, threads} begins; {id, ...request} asks for an image; answers are {id, pixels, maps}.

import { between, latent } from "./latents.js";

// Where it is computed -> names of the runtime's files: what is imported, what that compiles.
const RUNTIMES = {
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.jsep"],
};
// A function on numbers of 128 bits, which a WebAssembly without SIMD does not compile.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

let about, ort, model, session;
let place; // of RUNTIMES

async function fetched(name, more) {
  let response;
  try {
    response = await fetch(`${name}?${about.loaded[name].hash}`);
  } catch {
    throw new Error(`${name} cannot be loaded: is the host there?`);
  }
  if (!response.ok) throw new Error(`${name} is missing on this host (status ${response.status}).`);
  const reader = response.body.getReader();
  const parts = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    more(value.length);
  }
  const blob = new Blob(parts);
  const [a, b] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  // Some hosts unpack what ends in .gz on the way.
  const packed = a === 0x1f && b === 0x8b;
  const stream = packed ? blob.stream().pipeThrough(new DecompressionStream("gzip")) : blob.stream();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load(gpu, threads) {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD))
    throw new Error("This browser has no WebAssembly with SIMD, which the model runs in.");
  place = gpu ? "webgpu" : "wasm";
  const [script, binary] = RUNTIMES[place];
  const names = ["model.onnx.gz", `ort/${binary}.wasm.gz`];
  const total = names.reduce((sum, name) => sum + about.loaded[name].bytes, 0);
  postMessage({ megabytes: total / 1e6 });
  let loaded = 0;
  const more = (bytes) => postMessage({ loaded: Math.min(1, (loaded += bytes) / total) });
  let wasm;
  [ort, model, wasm] = await Promise.all([
    import(`./ort/${script}`),
    ...names.map((name) => fetched(name, more)),
  ]);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: new URL(`./ort/${binary}.mjs`, import.meta.url).href };
  // A first image compiles what a GPU computes with, and tells whether it can.
  if (gpu) await image({ from: 0n, label: 0, psi: 1 });
  else await open();
}

async function open() {
  session = await ort.InferenceSession.create(model, { executionProviders: [place] });
  if (place === "wasm") model = undefined;
}

// An image. From a GPU that fails, or is taken away, the model moves to WebAssembly.
async function image(request) {
  try {
    if (!session) await open();
    return await computed(request);
  } catch (error) {
    if (place !== "webgpu") throw error;
    [place, session] = ["wasm", undefined];
    postMessage({ moved: textOf(error) });
    return image(request);
  }
}

// {from} or {from, to, t}, seeds as BigInt; {label, psi} where the model has them.
async function computed({ from, to, t, label, psi }) {
  let z = latent(from, about.noise_dim);
  if (to !== undefined) z = between(z, latent(to, about.noise_dim), t);
  const feeds = { z: new ort.Tensor("float32", z, [1, about.noise_dim]) };
  if (about.classes.length) feeds.labels = new ort.Tensor("int32", Int32Array.of(label), [1]);
  if (about.psi) feeds.psi = new ort.Tensor("float32", Float32Array.of(psi), []);
  const results = await session.run(feeds);
  const [images, ...maps] = session.outputNames.map((name) => results[name].data);
  if (!images.every(Number.isFinite)) throw new Error("The model made an image that is no numbers.");
  const pixels = new Uint8ClampedArray((images.length / 3) * 4).fill(255);
  for (let i = 0; i < images.length; i++) {
    // As pictures.to_uint8: in float32, rounded half to even, which this array does by itself.
    const value = Math.fround(Math.fround(Math.min(1, Math.max(-1, images[i])) + 1) * 127.5);
    pixels[Math.floor(i / 3) * 4 + (i % 3)] = value;
  }
  return { pixels, maps };
}

function textOf(error) {
  return error instanceof Error ? error.message : String(error);
}

// One after the other: a session runs once at a time.
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      if (data.about) {
        about = data.about;
        await load(data.gpu, data.threads);
        postMessage({ ready: true, gpu: place === "webgpu", threads: ort.env.wasm.numThreads });
      } else {
        const { pixels, maps } = await image(data);
        const moved = [pixels, ...maps].map(({ buffer }) => buffer); // not copied
        postMessage({ id: data.id, pixels, maps }, moved);
      }
    } catch (error) {
      const text = textOf(error);
      const memory = error instanceof RangeError || /alloc|memory/i.test(text);
      postMessage({
        id: data.id,
        error: memory ? `There is not enough memory for this model (${text}).` : text,
      });
    }
  });
};
