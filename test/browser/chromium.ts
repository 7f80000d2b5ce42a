/** A real Chromium for a test. Playwright would bring one of its own; here it drives the system's. */
import type { TestContext } from 'node:test';
import { type Browser, chromium } from 'playwright-core';

/** Everybody is root in CI, which needs no-sandbox; the others keep it from calling home where there is none. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function startChromium(t: Pick<TestContext, 'after'>, path: string): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: path, args: QUIET });
  t.after(() => browser.close());
  return browser;
}
