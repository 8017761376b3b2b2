// Opens written reports in a real browser: nothing is fetched, nothing complains, nothing scrolls sideways, the keyboard
// reaches everything; screenshots and a print are kept to be looked at. Not part of the test suite. To run it:
//
//     npm install playwright-core        # anywhere; needs a Chromium
//     CHROMIUM=/usr/bin/chromium node check_report.mjs OUT_FOLDER REPORT.html...
//
// Exits with 1 where something is wrong.
import { mkdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [out, ...reports] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
const problems = [];
const require = (holds, what) => { if (!holds) problems.push(what); };

const open = async (report, options = {}) => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  const address = pathToFileURL(resolve(report)).href;
  page.on("console", (message) => require(!["error", "warning"].includes(message.type()), `${report}: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`${report}: ${error}`));
  page.on("request", (request) => require(request.url().startsWith("data:") || request.url().split("#")[0] === address, `${report} asks for ${request.url()}`));
  await page.goto(address + (options.hash || ""));
  return page;
};

const checkLooks = async (report, name) => {
  for (const width of [1280, 390]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(report, { viewport: { width, height: 900 }, colorScheme });
      const widest = await page.evaluate(() => document.documentElement.scrollWidth);
      require(widest <= width, `${report} is ${widest} px wide at ${width}`);
      await page.screenshot({ path: join(out, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      await page.close();
    }
  }
  const page = await open(report);
  await page.pdf({ path: join(out, `${name}.pdf`), format: "A4" });
  await page.close();
  const plain = await open(report, { javaScriptEnabled: false });
  await plain.screenshot({ path: join(out, `${name}-no-script.png`), fullPage: true });
  await plain.close();
};

const checkKeyboard = async (report, name) => {
  const page = await open(report);
  await page.keyboard.press("Tab");
  require(await page.evaluate(() => document.activeElement.className === "skip"), `${report}: the first stop is not the skip link`);
  await page.keyboard.press("Enter");
  require(await page.evaluate(() => document.activeElement.id === "main"), `${report}: the skip link does not lead to the results`);
  if (await page.locator("th button").count()) {
    const header = page.locator("th button").nth(1);
    await header.focus();
    await page.keyboard.press("Enter");
    require((await header.locator("..").getAttribute("aria-sort")) === "ascending", `${report}: a header does not sort`);
  }
  if (await page.locator("#gallery").count()) await checkGallery(page, report, name);
  await page.close();
};

const checkGallery = async (page, report, name) => {
  const count = () => page.locator("#count").textContent();
  const all = await count();
  await page.locator("#failures a").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction((before) => document.querySelector("#count").textContent !== before, all);
  require((await page.evaluate(() => location.hash)).startsWith("#gallery&kind="), `${report}: no filter in the address`);
  const told = await page.locator("#failures a").first().textContent();
  require((await count()).startsWith(`${told} of`), `${report}: ${told} photos promised, ${await count()} shown`);
  for (const bar of await page.locator(".histogram a").all()) {
    const [promised] = (await bar.getAttribute("aria-label")).match(/\d+/);
    await page.evaluate((hash) => { location.hash = hash; }, await bar.getAttribute("href"));
    await page.waitForFunction((wanted) => document.querySelector("#count").textContent.replace(",", "").startsWith(`${wanted} of`), promised, { timeout: 2000 })
      .catch(async () => problems.push(`${report}: a bar of ${promised} shows ${await count()}`));
  }
  await page.locator("#count button").first().click();
  require((await count()).startsWith(all.split(" ")[0]), `${report}: a filter cannot be removed`);
  const card = page.locator("#cards button").nth(2);
  await card.focus();
  await page.keyboard.press("Enter");
  require(await page.locator("#viewer").evaluate((viewer) => viewer.open), `${report}: Enter does not open a photo`);
  const first = await page.locator("#viewer-title").textContent();
  await page.keyboard.press("ArrowRight");
  require((await page.locator("#viewer-title").textContent()) !== first, `${report}: the arrow key does not go on`);
  await page.keyboard.press("ArrowLeft");
  require((await page.locator("#viewer-title").textContent()) === first, `${report}: the arrow key does not go back`);
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(out, `${name}-viewer.png`) });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: join(out, `${name}-viewer-390.png`) });
  await page.keyboard.press("Escape");
  require(await page.locator("#viewer").evaluate((viewer) => !viewer.open), `${report}: Escape does not close the photo`);
  require(await card.evaluate((button) => document.activeElement === button), `${report}: the focus is lost`);
};

for (const report of reports) {
  const name = basename(dirname(resolve(report)));
  await checkLooks(report, name);
  await checkKeyboard(report, name);
}
await browser.close();
console.log(problems.length ? problems.join("\n") : `${reports.length} reports: nothing to complain about`);
process.exit(problems.length ? 1 : 0);
