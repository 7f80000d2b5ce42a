/** Screenshots of pages: for people to look at; that nothing of a page is cut off is checked with each. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';

/** Of this working copy, which keeps them until the next run; others run beside it. */
export const PICTURES = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'millrace-screenshots');

export async function takePicture(page: Page, name: string): Promise<void> {
  mkdirSync(PICTURES, { recursive: true });
  // Drawn once a frame: what came before this one is on it.
  await page.evaluate('new Promise(requestAnimationFrame)');
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  const isCut = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
  assert.equal(isCut, false, `${name} is wider than its window`);
}

/** As on a telephone in the evening; afterwards it is as it was. */
export async function takeSmallPicture(page: Page, name: string): Promise<void> {
  const before = page.viewportSize();
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 390, height: 844 });
  await takePicture(page, name);
  await page.emulateMedia({ colorScheme: null });
  if (before !== null) await page.setViewportSize(before);
  assert.equal(
    await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
    false,
    `${name} is wider than its window`,
  );
}
