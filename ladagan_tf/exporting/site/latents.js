// Latents of seeds, the same numbers as ladagan_tf.sampling.seeds: seed s is the stream of
// numpy.random.Generator(numpy.random.Philox(key=[s, 0])).standard_normal.

export const MAX_SEED = (1n << 63n) - 1n;
const MASK = (1n << 64n) - 1n;

// Philox4x64-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const ROUNDS = 10;

// Four 64-bit words of a block; only the counter's first word is ever reached.
function block(counter, seed) {
  let [a, b, c, d] = [counter, 0n, 0n, 0n];
  let [k, l] = [seed, 0n];
  for (let round = 0; round < ROUNDS; round++) {
    const first = MULTIPLIERS[0] * a;
    const second = MULTIPLIERS[1] * c;
    [a, b, c, d] = [
      (second >> 64n) ^ b ^ k,
      second & MASK,
      (first >> 64n) ^ d ^ l,
      first & MASK,
    ];
    k = (k + WEYL[0]) & MASK;
    l = (l + WEYL[1]) & MASK;
  }
  return [a, b, c, d];
}

function* words(seed) {
  for (let counter = 1n; ; counter++) yield* block(counter, seed);
}

// Marsaglia and Tsang 2000, "The ziggurat method": 256 layers of one area under exp(-x^2 / 2). Edge
// i is where layer i ends, 255 is where the tail begins; heights are the curve there.
const LEVELS = 256;
const TAIL = 3.6541528853610088;
const STEPS = 2 ** 52; // of |x| within a layer

function makeTables() {
  const curve = (x) => Math.exp(-0.5 * x * x);
  let fraction = TAIL; // Laplace's continued fraction of the area under the tail
  for (let n = 200; n > 0; n--) fraction = TAIL + n / fraction;
  const area = TAIL * curve(TAIL) + curve(TAIL) / fraction;
  const edges = new Float64Array(LEVELS);
  const heights = new Float64Array(LEVELS);
  edges[LEVELS - 1] = TAIL;
  heights[LEVELS - 1] = curve(TAIL);
  let lost = 0; // below the last place of the sum of heights
  for (let i = LEVELS - 2; i > 0; i--) {
    const height = heights[i + 1];
    const added = area / edges[i + 1] + lost;
    heights[i] = height + added;
    lost = added - (heights[i] - height);
    edges[i] = Math.sqrt(-2 * (Math.log(heights[i]) + lost / heights[i]));
  }
  heights[0] = 1;
  // The lowest layer holds the tail: a rectangle of its area would be so wide.
  const widths = edges.map((edge) => edge / STEPS);
  widths[0] = area / curve(TAIL) / STEPS;
  const inside = Array.from(edges, (edge, i) =>
    BigInt(Math.floor((i ? edges[i - 1] / edge : TAIL * curve(TAIL) / area) * STEPS)),
  );
  inside[1] = 0n;
  return { heights, widths, inside };
}

const TABLES = makeTables();

// `count` standard normal numbers in double precision; seed is a BigInt.
export function normals(seed, count) {
  const { heights, widths, inside } = TABLES;
  const stream = words(seed);
  const word = () => stream.next().value;
  const uniform = () => Number(word() >> 11n) / 2 ** 53;
  const tail = (negative) => {
    for (;;) {
      const x = -Math.log1p(-uniform()) / TAIL;
      const y = -Math.log1p(-uniform());
      if (y + y > x * x) return negative ? -(TAIL + x) : TAIL + x;
    }
  };
  const normal = () => {
    for (;;) {
      const bits = word();
      const layer = Number(bits & 0xffn);
      const steps = (bits >> 9n) & 0xfffffffffffffn;
      const x = Number(steps) * widths[layer] * ((bits >> 8n) & 1n ? -1 : 1);
      if (steps < inside[layer]) return x;
      if (layer === 0) return tail((steps >> 8n) & 1n);
      const rise = heights[layer - 1] - heights[layer];
      if (rise * uniform() + heights[layer] < Math.exp(-0.5 * x * x)) return x;
    }
  };
  return Float64Array.from({ length: count }, normal);
}

export function latent(seed, size) {
  return Float32Array.from(normals(seed, size));
}

// A latent between two, along a great circle (Shoemake 1985), as generate --interpolate walks.
export function between(a, b, t) {
  const dot = (u, v) => u.reduce((sum, x, i) => sum + x * v[i], 0);
  const cosine = dot(a, b) / (Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b)));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  // In one direction, or in opposite ones, there is no single great circle.
  const [p, q] =
    sine < 1e-6 ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return a.map((x, i) => p * x + q * b[i]);
}

// A seed as BigInt of what was written; null where it is none.
export function parseSeed(text) {
  const digits = text.trim();
  if (!/^\d{1,19}$/.test(digits)) return null;
  const seed = BigInt(digits);
  return seed <= MAX_SEED ? seed : null;
}
