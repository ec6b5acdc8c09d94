// Keeps the site for visits without a network. Its folder is written anew with each export, and
// VERSION with it; pages that are open keep the files they began with.

const OURS = `ladagan_tf ${registration.scope} `; // its end tells /site/ from /site/other/
const CACHE = `${OURS}VERSION`;
const FILES = SHELL;

addEventListener("install", (event) => {
  const requests = ["./", ...FILES].map((name) => new Request(name, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

async function tidy() {
  const old = (await caches.keys()).filter((key) => key.startsWith(OURS) && key !== CACHE);
  await Promise.all(old.map((key) => caches.delete(key)));
  await clients.claim();
}

addEventListener("activate", (event) => event.waitUntil(tidy()));

async function answer(event) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(event.request, { ignoreSearch: true });
  if (kept) return kept;
  const response = await fetch(event.request);
  if (response.status === 200) {
    // Where there is no room for it the page works, online only.
    event.waitUntil(cache.put(event.request, response.clone()).catch(() => {}));
  }
  return response;
}

addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event));
});
