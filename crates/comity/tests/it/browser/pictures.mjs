// Pictures of the main pages, for the README: one theme and size for all, one of them dark.

import { writeFileSync } from "node:fs";
import { crc32, deflateSync, inflateSync } from "node:zlib";

const { PICTURES } = process.env;
const ANA = "ana@marina-bay.example";
const MOST = 80_000;

/** The chunks of a PNG by name. */
function* chunks(png) {
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    yield [png.toString("latin1", at + 4, at + 8), png.subarray(at + 8, at + 8 + length)];
    at += 12 + length;
  }
}

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, "latin1"), data]);
  const around = Buffer.alloc(8);
  around.writeUInt32BE(data.length, 0);
  around.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([around.subarray(0, 4), body, around.subarray(4)]);
}

/** The pixels of a picture as the browser writes it, 3 or 4 bytes each. */
function pixels(png) {
  const found = [...chunks(png)];
  const head = found.find(([name]) => name === "IHDR")[1];
  const [width, height, depth, kind] = [head.readUInt32BE(0), head.readUInt32BE(4), head[8], head[9]];
  assert.ok(depth === 8 && (kind === 2 || kind === 6), "another kind of PNG");
  const each = kind === 2 ? 3 : 4;
  const raw = inflateSync(Buffer.concat(found.filter(([name]) => name === "IDAT").map(([, data]) => data)));
  const line = width * each;
  const out = Buffer.alloc(line * height);
  const near = (a, b, c) => {
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  };
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (line + 1)];
    for (let x = 0; x < line; x++) {
      const a = x >= each ? out[y * line + x - each] : 0;
      const b = y ? out[(y - 1) * line + x] : 0;
      const c = x >= each && y ? out[(y - 1) * line + x - each] : 0;
      const guess = [0, a, b, (a + b) >> 1, near(a, b, c)][filter];
      out[y * line + x] = raw[y * (line + 1) + 1 + x] + guess;
    }
  }
  return { width, height, each, out };
}

/** The same picture in the 256 colours that it has most of, each other one as the nearest of them:
 * a third of the size, and nobody sees it. */
function small(png) {
  const { width, height, each, out } = pixels(png);
  const count = width * height;
  const colour = (n) => out.readUIntBE(n * each, 3);
  const seen = new Map();
  for (let n = 0; n < count; n++) seen.set(colour(n), (seen.get(colour(n)) ?? 0) + 1);
  const chosen = [...seen].sort((a, b) => b[1] - a[1]).slice(0, 256).map(([one]) => one);
  const parts = (one) => [one >> 16, (one >> 8) & 255, one & 255];
  const far = (a, b) => parts(a).reduce((sum, part, n) => sum + (part - parts(b)[n]) ** 2, 0);
  const places = new Map(chosen.map((one, n) => [one, n]));
  for (const one of seen.keys()) {
    if (places.has(one)) continue;
    let [best, least] = [0, Infinity];
    for (let n = 0; n < chosen.length; n++) if (far(one, chosen[n]) < least) [best, least] = [n, far(one, chosen[n])];
    places.set(one, best);
  }
  const lines = Buffer.alloc((width + 1) * height);
  for (let n = 0; n < count; n++) lines[Math.floor(n / width) * (width + 1) + 1 + (n % width)] = places.get(colour(n));
  const palette = Buffer.alloc(chosen.length * 3);
  chosen.forEach((one, n) => palette.writeUIntBE(one, n * 3, 3));
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    png.subarray(0, 8),
    chunk("IHDR", head),
    chunk("PLTE", palette),
    chunk("IDAT", deflateSync(lines, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

async function picture(page, name) {
  // What is told once is not what the page looks like; the mouse is nowhere.
  await page.mouse.move(0, 0);
  await page.waitForTimeout(300);
  const bytes = small(await page.screenshot());
  assert.ok(bytes.length < MOST, `${name}: ${bytes.length} bytes`);
  writeFileSync(`${PICTURES}/${name}.png`, bytes);
  console.log(`${name}.png ${bytes.length} bytes`);
}

async function seat(who, dark = false) {
  const page = await window(null, { dark });
  await page.setViewportSize({ width: 1200, height: 800 });
  await signIn(page, who);
  return page;
}

const ana = await token(ANA);
const marina = `/console/o/${(await api("GET", "/v1/organisations/marina-bay", ana)).id}`;
const of = async (query) => (await api("GET", `/v1/organisations/marina-bay/sessions?${query}`, ana)).items;
const now = (await of("status=active"))[0];
const busiest = (await of("limit=100")).reduce((a, b) => (b.api_calls > a.api_calls ? b : a));

const page = await seat(ANA);
await page.goto(`${COMITY}${marina}/access/pending`);
await picture(page, "pending-requests");
await page.getByRole("link", { name: /^Approve/ }).first().click();
const dialog = page.getByRole("dialog");
await dialog.getByRole("checkbox").first().check();
await dialog.getByRole("heading", { name: "This is what you give" }).waitFor();
// All of it, from who asks to what is given.
await page.setViewportSize({ width: 1200, height: 1240 });
await picture(page, "approve");
await page.setViewportSize({ width: 1200, height: 800 });
await page.goto(`${COMITY}${marina}/access/active`);
await picture(page, "active-access");
await page.goto(`${COMITY}${marina}/sessions/${busiest.id}`);
await page.setViewportSize({ width: 1200, height: 1080 });
await picture(page, "session");
await page.setViewportSize({ width: 1200, height: 800 });
await page.goto(`${COMITY}${marina}/access/settings`);
await picture(page, "settings");
const dark = await seat(ANA, true);
await dark.goto(`${COMITY}${marina}/access/history`);
await picture(dark, "history-dark");
const inside = await seat(now.partner.email);
await inside.goto(`${COMITY}/console/stay/${now.id}`);
await picture(inside, "stay");
await browser.close();
console.log("all pictures were taken");
