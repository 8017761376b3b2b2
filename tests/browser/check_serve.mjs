// Uses the page of `fgbg serve` as people do, in a real browser: photos dropped, pasted and chosen, threshold, grounds,
// downloads, keyboard, phone, dark. Screenshots are kept to be looked at. Not part of the test suite. To run it:
//
//     npm install playwright-core        # anywhere; needs a Chromium
//     fgbg serve --port 8000
//     CHROMIUM=/usr/bin/chromium node check_serve.mjs http://127.0.0.1:8000/ OUT_FOLDER PHOTO PHOTO PHOTO PHOTO...
//
// Exits with 1 where something is wrong.
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { chromium } from "playwright-core";

const [address, out, ...photos] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
const problems = [];
const require = (holds, what) => { if (!holds) problems.push(what); };

const open = async (options = {}) => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  // A refusal is an error to the browser; one is meant.
  page.on("console", (message) => require(!["error", "warning"].includes(message.type()) || message.text().includes("status of 415"), `console: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("request", (request) => require(request.url().startsWith(address) || /^(blob|data):/.test(request.url()), `asks for ${request.url()}`));
  await page.goto(address);
  return page;
};

const settled = (page, count) => page.waitForFunction((count) => document.querySelectorAll("#queue .done, #queue .failed").length === count, count);
const opaque = (page) => page.evaluate(() => {
  const view = document.querySelector("#view"), context = new OffscreenCanvas(view.width, view.height).getContext("2d");
  context.drawImage(view, 0, 0);
  const { data } = context.getImageData(0, 0, view.width, view.height);
  let count = 0;
  for (let place = 3; place < data.length; place += 4) count += data[place] > 0;
  return count / (view.width * view.height);
});
const download = async (page, button) => {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  const path = join(out, file.suggestedFilename());
  await file.saveAs(path);
  return path;
};

/** Files as the browser's own DataTransfer, for a drop or a paste. */
const transfer = (page, paths) => page.evaluateHandle((files) => {
  const data = new DataTransfer();
  for (const { name, text } of files) data.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name, { type: "image/jpeg" }));
  return data;
}, paths.map((path) => ({ name: basename(path), text: readFileSync(path).toString("base64") })));

const page = await open();
await page.screenshot({ path: join(out, "empty-1280.png") });
const dropped = await transfer(page, photos.slice(0, 3));
await page.dispatchEvent("body", "drop", { dataTransfer: dropped });
await settled(page, 3);
await page.locator("#queue button").first().click();
await page.waitForFunction((name) => document.querySelector("#view").width > 0 && document.querySelector("#view").ariaLabel.startsWith(name), basename(photos[0]));
require((await page.locator("#queue li").count()) === 3, "three photos were dropped, and not three are listed");
const before = await opaque(page);
require(before > 0.02 && before < 0.98, `the first cut-out shows ${before} of its photo`);
await page.screenshot({ path: join(out, "three-1280.png"), fullPage: true });

await page.locator("#threshold").fill("95");
const stricter = await opaque(page);
require(stricter < before, `a threshold of 95 % shows ${stricter}, one of 50 % ${before}`);
require((await page.textContent("#threshold-said")) === "95 %", "the threshold is not said");
await page.click("#reset");
require((await opaque(page)) === before, "the model's own threshold does not come back");

await page.locator("#split").fill("50");
require((await opaque(page)) > before, "half of the original is not shown");
await page.screenshot({ path: join(out, "split-1280.png") });
await page.locator("#split").fill("0");

const name = basename(photos[0]).replace(/\.[^.]*$/, "");
const cutout = await download(page, "#save"), mask = await download(page, "#save-mask"), zip = await download(page, "#save-all");
require(basename(cutout) === `${name}.png` && basename(mask) === `${name}-mask.png`, `downloads are called ${cutout} and ${mask}`);
require(readFileSync(zip).subarray(0, 2).toString() === "PK" && statSync(zip).size > statSync(cutout).size, "the zip is none");

const partial = () => page.evaluate(() => {
  const view = document.querySelector("#view"), context = new OffscreenCanvas(view.width, view.height).getContext("2d");
  context.drawImage(view, 0, 0);
  return context.getImageData(0, 0, view.width, view.height).data.filter((value, place) => place % 4 === 3 && value > 20 && value < 235).length;
});
if (await page.locator("#soft").isVisible()) { // where the server has the libraries
  const hard = await partial();
  await page.check("#soft");
  await page.waitForFunction(() => document.querySelector("#said").textContent === "Softening the edges …");
  await page.waitForFunction(() => document.querySelector("#said").textContent === "", null, { timeout: 180_000 }); // a fresh pymatting compiles itself
  require((await partial()) > 2 * hard + 100, `soft edges have ${await partial()} pixels in part, hard ones ${hard}`);
  await page.screenshot({ path: join(out, "soft-1280.png") });
  await page.uncheck("#soft");
  require((await partial()) === hard, "hard edges do not come back");
}

await page.check("[value=colour]");
require((await opaque(page)) === 1, "a colour does not fill the ground");
await page.screenshot({ path: join(out, "colour-1280.png") });
await page.check("[value=photo]");
await page.setInputFiles("#backdrop", photos[1]);
await page.waitForTimeout(300);
require((await opaque(page)) === 1, "another photo does not fill the ground");
await page.screenshot({ path: join(out, "photo-1280.png") });
await page.check("[value=none]");

await page.evaluate((data) => document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data })), await transfer(page, photos.slice(3, 4)));
await settled(page, 4);
writeFileSync(join(out, "text.jpg"), "no photo");
await page.setInputFiles("#files", join(out, "text.jpg")).then(() => settled(page, 5));
await page.locator("#queue button").first().focus();
for (let step = 0; step < 4; step++) await page.keyboard.press("ArrowRight");
require((await page.textContent("#verdict")).includes("text.jpg is not an image that can be read"), `what is no photo is called: ${await page.textContent("#verdict")}`);
require((await page.locator("#queue .failed").count()) === 1, "what is no photo does not stand out");
await page.screenshot({ path: join(out, "failed-1280.png"), fullPage: true });
await page.close();

for (const [width, colorScheme] of [[390, "light"], [390, "dark"], [1280, "dark"]]) {
  const phone = await open({ viewport: { width, height: 844 }, colorScheme });
  await phone.setInputFiles("#files", photos.slice(0, 3));
  await settled(phone, 3);
  await phone.waitForFunction(() => document.querySelector("#view").width > 0);
  const widest = await phone.evaluate(() => document.documentElement.scrollWidth);
  require(widest <= width, `the page is ${widest} px wide at ${width}`);
  await phone.screenshot({ path: join(out, `three-${width}-${colorScheme}.png`), fullPage: true });
  await phone.close();
}
await browser.close();
console.log(problems.length ? problems.join("\n") : "all is well");
process.exit(problems.length ? 1 : 0);
