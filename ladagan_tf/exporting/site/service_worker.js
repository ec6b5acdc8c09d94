// Keeps the page for visits without a network, and isolates it, which browsers ask of a page whose
// WebAssembly is to run in threads. A file with its hash in its address is kept for good; all others
// are asked of the host first, so that a new export is seen at once.

const CACHE = `ladagan_tf ${registration.scope}`; // other exports of this host have caches of their own
const FIRST = ["./", "page.css", "page.js", "worker.js", "latents.js", "model.json"];
const OURS = /^(|page\.css|page\.js|worker\.js|latents\.js|model\.json|model\.onnx\.gz|ort\/[^/]+)$/;
const HASH = /^\?[0-9a-f]{16}$/;
const MARK = '<meta name="generator" content="ladagan_tf">';

addEventListener("install", (event) => {
  skipWaiting();
  const requests = FIRST.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, headers });
}

// Where there is no room for it the page works, online only.
async function keep(cache, address, response) {
  await cache.put(address, response).catch(() => {});
  const { pathname, href } = new URL(address);
  for (const { url } of await cache.keys())
    if (new URL(url).pathname === pathname && url !== href) await cache.delete(url);
}

async function answer(event, name, hash) {
  const cache = await caches.open(CACHE);
  const address = new URL(name + hash, registration.scope).href;
  const kept = await cache.match(address);
  if (hash && kept) return isolated(kept);
  let response;
  try {
    response = await fetch(address, { cache: hash ? "default" : "no-cache" });
  } catch (error) {
    if (kept) return isolated(kept);
    throw error;
  }
  if (response.status !== 200) return response;
  if (!name && !(await response.clone().text()).includes(MARK)) {
    await registration.unregister(); // another page is here now
    return response;
  }
  event.waitUntil(keep(cache, address, response.clone()));
  return isolated(response);
}

addEventListener("fetch", (event) => {
  const { origin, pathname, search } = new URL(event.request.url);
  const scope = new URL(registration.scope);
  if (event.request.method !== "GET" || origin !== scope.origin) return;
  if (!pathname.startsWith(scope.pathname)) return;
  const name = pathname.slice(scope.pathname.length).replace(/^index\.html$/, "");
  if (OURS.test(name)) event.respondWith(answer(event, name, HASH.test(search) ? search : ""));
});
