// The model in a thread of its own: loads it, telling how far it is, then answers one request at a
// time. {about} begins; {id, ...request} asks for an image; answers are {id, pixels, maps}.

import { between, latent } from "./latents.js";
import * as ort from "./ort/ort.wasm.min.mjs";

// A function on numbers of 128 bits, which a WebAssembly without SIMD does not compile.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

let about, session;

async function fetched(name, more) {
  let response;
  try {
    response = await fetch(name);
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

async function load() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD))
    throw new Error("This browser has no WebAssembly with SIMD, which the model runs in.");
  const names = Object.keys(about.loaded);
  const total = names.reduce((sum, name) => sum + about.loaded[name], 0);
  let loaded = 0;
  const more = (bytes) => postMessage({ loaded: Math.min(1, (loaded += bytes) / total) });
  const [model, wasm] = await Promise.all(names.map((name) => fetched(name, more)));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = {
    mjs: new URL("./ort/ort-wasm-simd-threaded.mjs", import.meta.url).href,
  };
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

// {from} or {from, to, t}, seeds as BigInt; {label, psi} where the model has them.
async function image({ from, to, t, label, psi }) {
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

// One after the other: a session runs once at a time.
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      if (data.about) {
        about = data.about;
        await load();
        // Half of the cores, where the host's headers isolate the page: threads share memory.
        postMessage({ ready: true, threads: ort.env.wasm.numThreads });
      } else {
        const { pixels, maps } = await image(data);
        const moved = [pixels, ...maps].map(({ buffer }) => buffer); // not copied
        postMessage({ id: data.id, pixels, maps }, moved);
      }
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const memory = error instanceof RangeError || /alloc|memory/i.test(text);
      postMessage({
        id: data.id,
        error: memory ? `There is not enough memory for this model (${text}).` : text,
      });
    }
  });
};
