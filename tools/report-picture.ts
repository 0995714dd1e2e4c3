// `npm run picture -- DIR`: the picture of the README, taken from the report of a run in DIR by headless Chromium.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const report = join(process.argv[2] ?? "", "report.html");
if (!existsSync(report)) {
  console.error(`there is no ${report}; give the folder that lfm bench wrote`);
  process.exit(2);
}
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 1500 }, colorScheme: "light" });
await page.goto(pathToFileURL(report).href);
const target = join(import.meta.dirname, "../docs/report.png");
await page.screenshot({ path: target, clip: { x: 0, y: 0, width: 1200, height: 1500 } });
await browser.close();
console.log(target);
