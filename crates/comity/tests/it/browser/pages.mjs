// Every page, as the one who sees it, narrow and wide, light and dark.

import { AxeBuilder } from "@axe-core/playwright";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

async function look(page, path, address, width, dark) {
  const loud = [];
  const note = (what) => loud.push(`${path} at ${width}: ${what}`);
  const onConsole = (message) => ["error", "warning"].includes(message.type()) && note(message.text());
  // What the page before asked for by itself is given up when one goes on.
  const onFailed = (failed) => failed.failure().errorText !== "net::ERR_ABORTED" && note(`${failed.url()} failed`);
  const onError = (error) => note(error.message);
  page.on("console", onConsole).on("requestfailed", onFailed).on("pageerror", onError);
  const answer = await page.goto(COMITY + address);
    assert.equal(answer.status(), 200, `${path}: ${page.url()}`);
  assert.equal(new URL(page.url()).pathname, new URL(COMITY + address).pathname, `${path} led elsewhere`);
  const policy = answer.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|data:|\*/);
  const size = (await answer.body()).length;
  assert.ok(size <= 60_000, `${path}: ${size} bytes`);
  const seen = await page.evaluate(() => ({
    inline: document.querySelectorAll("[style], style, script:not([src])").length,
    handlers: [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).length,
    headings: document.querySelectorAll("h1").length,
    title: document.title,
    lang: document.documentElement.lang,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  }));
  assert.equal(seen.inline + seen.handlers, 0, `${path}: inline style or script`);
  assert.equal(seen.headings, 1, `${path}: ${seen.headings} first headings`);
  assert.match(seen.title, /. · Comity$/, path);
  assert.equal(seen.lang, "en");
  assert.ok(seen.wide <= 0, `${path} at ${width}: ${seen.wide} px too wide`);
  // The dark theme has other colours and nothing else.
  const axe = dark ? new AxeBuilder({ page }).withRules(["color-contrast"]) : new AxeBuilder({ page }).withTags(TAGS);
  const found = width === 390 && dark ? { violations: [] } : await axe.analyze();
  for (const wrong of found.violations)
    note(`${wrong.id}: ${wrong.help}: ${wrong.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
  page.off("console", onConsole).off("requestfailed", onFailed).off("pageerror", onError);
  return loud;
}

/** Tab reaches everything that can be used, and shows where one is. */
async function byKeyboard(page, path) {
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")];
    const usable = all.filter((e) => !e.disabled && e.type !== "hidden" && e.checkVisibility({ visibilityProperty: true }));
    return usable.length;
  });
  // From the top, wherever the page has put one.
  await page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });
  const reached = new Set();
  for (let at = 0; at < wanted + 30; at++) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      e.dataset.reached ||= String(Math.random());
      const look = getComputedStyle(e);
      return { id: e.dataset.reached, tag: e.outerHTML.slice(0, 80), shown: look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 1 };
    });
    if (!here) break;
    assert.ok(here.shown, `${path}: where one is cannot be seen at ${here.tag}`);
    reached.add(here.id);
  }
  // Radio buttons of one name are one stop.
  const radios = await page.evaluate(() => {
    const names = [...document.querySelectorAll("input[type=radio]")].map((e) => e.name);
    return names.length - new Set(names).size;
  });
  const missed = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input:not([type=radio]), select, textarea, summary")];
    const usable = all.filter((e) => !e.disabled && e.type !== "hidden" && e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }));
    return usable.filter((e) => !e.dataset.reached).map((e) => e.outerHTML.slice(0, 120));
  });
  assert.ok(reached.size >= wanted - radios || missed.length === 0, `${path}: by keyboard not reached: ${missed}`);
}

const loud = [];
for (const width of [1280, 390]) {
  for (const dark of [false, true]) {
    const windows = new Map();
    for (const line of pages) {
      const [path, who] = line;
      if (!windows.has(who)) windows.set(who, await window(who, { width, dark }));
      const page = windows.get(who);
      loud.push(...(await look(page, path, address(line), width, dark)));
      if (width === 1280 && !dark) await byKeyboard(page, path);
      if (process.env.PICTURES) {
        const name = path.replace(/^\/console\/?/, "").replace(/\W+/g, "-") || "home";
        await page.screenshot({ path: `${process.env.PICTURES}/${name}-${width}-${dark ? "dark" : "light"}.png`, fullPage: true });
      }
    }
    for (const page of windows.values()) await page.context().close();
  }
}
await browser.close();
assert.deepEqual(loud, []);
assert.ok(others.length > 0);
console.log("all pages were looked at");
