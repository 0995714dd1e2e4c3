import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { editRun } from "../../test/fixtures/edit-run.js";
import { fullRun } from "../../test/fixtures/full-run.js";
import { reuseRun } from "../../test/fixtures/reuse-run.js";
import { renderReport } from "./write-report.js";

const executable = process.env.CHROMIUM ?? "/usr/bin/chromium";
const missing = !existsSync(executable);
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

describe.skipIf(missing)(
  missing ? `report in a browser (skipped: no ${executable}; install chromium or set CHROMIUM)` : "report in a browser",
  () => {
    let browser: Browser;
    let dir: string;
    let url: string;
    let merges: string;
    let edits: string;

    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), "lfm-page-"));
      writeFileSync(join(dir, "report.html"), renderReport(fullRun()).html);
      url = pathToFileURL(join(dir, "report.html")).href;
      writeFileSync(join(dir, "merges.html"), renderReport(reuseRun()).html);
      merges = pathToFileURL(join(dir, "merges.html")).href;
      writeFileSync(join(dir, "edits.html"), renderReport(editRun()).html);
      edits = pathToFileURL(join(dir, "edits.html")).href;
      browser = await chromium.launch({ executablePath: executable, headless: true, args: flags });
    });
    afterAll(async () => {
      await browser?.close();
      if (dir) rmSync(dir, { recursive: true });
    });

    async function open(width: number, colorScheme: "light" | "dark" = "light", address = url): Promise<{ page: Page; trouble: string[] }> {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      const trouble: string[] = [];
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && trouble.push(message.text()));
      page.on("pageerror", (error) => trouble.push(error.message));
      page.on("request", (request) => !/^(file|data):/.test(request.url()) && trouble.push(`asked for ${request.url()}`));
      await page.goto(address);
      return { page, trouble };
    }

    const column = (page: Page, n: number): Promise<string[]> =>
      page.$$eval(`#cross-table tbody tr > *:nth-child(${n})`, (cells) => cells.map((c) => c.getAttribute("data-v") ?? ""));
    const place = async (page: Page, title: string): Promise<number> =>
      1 + (await page.locator("#cross-table thead th").allTextContents()).findIndex((text) => text.startsWith(title));
    const head = (page: Page, title: string) => page.locator("#cross-table thead th", { hasText: title });

    const sizes = [
      [390, "light"],
      [1280, "light"],
      [1280, "dark"],
      [390, "dark"],
    ] as const;
    const pages = ["report", "merges", "edits"] as const;
    const addressOf = (name: (typeof pages)[number]): string => ({ report: url, merges, edits })[name];
    it.each(pages.flatMap((name) => sizes.map(([width, scheme]) => [name, width, scheme] as const)))(
      "%s fits %d px in %s, without an error or a request",
      async (name, width, scheme) => {
        const { page, trouble } = await open(width, scheme, addressOf(name));
        const wide = await page.evaluate<string[]>(
          `[...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll") && !e.closest("svg") && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "." + e.className)`,
        );
        expect(wide).toEqual([]);
        expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
        expect(trouble).toEqual([]);
        if (process.env.LFM_SCREENSHOTS)
          await page.screenshot({ path: join(process.env.LFM_SCREENSHOTS, `${name}-${width}-${scheme}.png`), fullPage: true });
        await page.close();
      },
    );

    it.each(pages)("%s: every chart is drawn inside its box and without NaN", async (name) => {
      const { page } = await open(1280, "light", addressOf(name));
      expect(await page.locator("svg[role=img]").count()).toBeGreaterThan(12);
      const drawn = await page.$$eval("svg", (all) => all.map((s) => s.outerHTML).join(""));
      expect(drawn).not.toMatch(/NaN|Infinity|undefined/);
      const outside = await page.evaluate<
        string[]
      >(`[...document.querySelectorAll("svg[role=img]")].filter((s) => s.getClientRects().length).flatMap((s) => {
      const box = s.getBoundingClientRect();
      return [...s.querySelectorAll("text")].filter((t) => { const r = t.getBoundingClientRect(); return r.left < box.left - 2 || r.right > box.right + 2 || r.bottom > box.bottom + 2 || r.top < box.top - 2; })
        .map((t) => s.getAttribute("aria-label") + ": " + t.textContent);
    })`);
      expect(outside).toEqual([]);
      await page.close();
    });

    it("shows quality beside the method on a telephone, and every column on a desk", async () => {
      const narrow = await open(390);
      const quality = await narrow.page.locator("#cross-table tbody tr:first-child > *:nth-child(2)").boundingBox();
      expect(quality!.x + quality!.width).toBeLessThanOrEqual(390);
      await narrow.page.close();
      const { page } = await open(1280);
      expect(
        await page.evaluate(
          "(() => { const box = document.getElementById('cross-table').parentElement; return box.scrollWidth - box.clientWidth; })()",
        ),
      ).toBe(0);
      await page.close();
    });

    it("sorts by a click and turns the order by the next, values that were not run last", async () => {
      const { page } = await open(1280);
      await head(page, "Trained").locator("button").click();
      expect(await head(page, "Trained").getAttribute("aria-sort")).toBe("ascending");
      const up = (await column(page, await place(page, "Trained"))).map((v) => (v === "" ? Number.POSITIVE_INFINITY : Number(v)));
      expect(up).toEqual([...up].sort((a, b) => a - b));
      await head(page, "Trained").locator("button").click();
      expect(await head(page, "Trained").getAttribute("aria-sort")).toBe("descending");
      const down = (await column(page, await place(page, "Trained"))).map((v) => (v === "" ? Number.NEGATIVE_INFINITY : Number(v)));
      expect(down).toEqual([...down].sort((a, b) => b - a));
      expect(new Set(down).size).toBeGreaterThan(5);
      await page.close();
    });

    it("sorts by keyboard, best first where more is better", async () => {
      const { page } = await open(1280);
      await head(page, "Quality").locator("button").focus();
      await page.keyboard.press("Enter");
      expect(await head(page, "Quality").getAttribute("aria-sort")).toBe("descending");
      const values = await column(page, await place(page, "Quality"));
      const numbers = values.filter((v) => v !== "").map(Number);
      expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
      expect(values.slice(-2)).toEqual(["", ""]);
      const heads = await page.locator("#cross-table thead th").count();
      expect(await page.locator("#cross-table thead th[aria-sort=none]").count()).toBe(heads - 1);
      await page.close();
    });

    it("sorts the table of tasks by a task, best first, methods without a number last", async () => {
      const { page } = await open(1280, "light", merges);
      const table = page.locator("table:has(tr.ref)");
      await table.locator("thead th", { hasText: "mood" }).locator("button").click();
      const labels = await table.locator("tbody th").allTextContents();
      expect([labels.slice(0, 3).sort(), labels.at(-1)]).toEqual([["individual", "multitask", "wemoe"], "smile"]);
      await page.close();
    });

    it("shades the heat map of edits by what stands in it, and keeps the names of methods in sight", async () => {
      const { page } = await open(390, "light", edits);
      const shades = await page.evaluate<readonly (readonly [number, string])[]>(
        `[...document.querySelector("table.heat").querySelectorAll("td[style]")].map((td) => [Number(td.textContent), getComputedStyle(td).backgroundColor])`,
      );
      const sorted = [...shades].sort((a, b) => a[0] - b[0]);
      expect(sorted.at(-1)![1]).not.toBe(sorted[0]![1]);
      expect(shades.every(([value]) => value >= 0 && value <= 100)).toBe(true);
      const box = page.locator(".scroll:has(table.heat)").first();
      await box.evaluate((e) => e.scrollTo(400, 0));
      const name = await box.locator("tbody th").first().boundingBox();
      expect(name!.x).toBeGreaterThanOrEqual(0);
      await page.close();
    });

    it("filters by paradigm and by text", async () => {
      const { page } = await open(390);
      const shown = () => page.locator("#cross-table tbody tr:visible").count();
      const all = await shown();
      await page.getByRole("button", { name: "Model reuse", exact: true }).click();
      expect(await shown()).toBe(4);
      await page.getByLabel("Filter rows by text").fill("ties");
      expect(await shown()).toBe(1);
      await page.getByLabel("Filter rows by text").fill("");
      await page.getByRole("button", { name: "All", exact: true }).click();
      expect(await shown()).toBe(all);
      await page.close();
    });

    it("lets names of methods do nothing", async () => {
      writeFileSync(
        join(dir, "evil.html"),
        renderReport(fullRun(`<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`)).html,
      );
      const page = await browser.newPage();
      await page.goto(pathToFileURL(join(dir, "evil.html")).href);
      expect(await page.title()).toBe("lfm bench: sample");
      expect(await page.locator("img").count()).toBe(0);
      await page.close();
    });
  },
);
