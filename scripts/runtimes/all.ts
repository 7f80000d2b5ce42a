/** Every runtime there is. A new one is a few lines here. */
import { chromium } from './chromium.ts';
import { packaged } from './packaged.ts';
import type { Runtime } from './runtime.ts';

export const deno = packaged({
  name: 'deno',
  version: '2.9.5',
  program: 'deno',
  pins: {
    'linux-x64': {
      package: '@deno/linux-x64-glibc',
      integrity: 'sha512-TDqcnoLe3jlgqYEQm7H7MK6q0JOth+o8iSZzknRODnVkJfPiNnjVn1M1Zc6vnp+ipkyb6Av1/CUlHgHtlq59Gw==',
    },
    'linux-arm64': {
      package: '@deno/linux-arm64-glibc',
      integrity: 'sha512-IuYjsz9PGl7CJcNXMuN27KNDB8Q40brK3SG3l+TXMDVW61ZKwcn0fQHBHnXFiiygEwI8by/fKnASEluhZB1atw==',
    },
    'darwin-arm64': {
      package: '@deno/darwin-arm64',
      integrity: 'sha512-SX98qSdBT1lw9x6NwGwx2xIayl1kRimdRnFohYlJ6nt3mLKzTKHHKQwQs5D2pEY7mbUGGbYe9brM2kfN75pPkg==',
    },
  },
});

export const bun = packaged({
  name: 'bun',
  version: '1.4.5',
  program: 'bin/bun',
  pins: {
    'linux-x64': {
      package: '@oven/bun-linux-x64',
      integrity: 'sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==',
    },
    'linux-arm64': {
      package: '@oven/bun-linux-aarch64',
      integrity: 'sha512-4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==',
    },
    'darwin-arm64': {
      package: '@oven/bun-darwin-aarch64',
      integrity: 'sha512-4MIFXHmctH2EhAxLXm2/qxNtv17dFtLJylvaOCsrgq6KSqHTs6eW5YSrJjRbJxYUJaR901fsN8JfZOa+CsWpWQ==',
    },
  },
});

/** What Cloudflare's Workers run on. */
export const workerd = packaged({
  name: 'workerd',
  version: '1.20260730.1',
  program: 'bin/workerd',
  pins: {
    'linux-x64': {
      package: '@cloudflare/workerd-linux-64',
      integrity: 'sha512-ouyPOSMbiKPeSwUJUvxtMcxGAXs2J4aPE4T5ABIYX5ClcQx5j5bbHTmnqOQEY8sAuLTPjH7dY+iB6UI5ISlwwA==',
    },
    'linux-arm64': {
      package: '@cloudflare/workerd-linux-arm64',
      integrity: 'sha512-YQ+Mi78U3TPdgBPtwq+Sm6rJU+Ihl2y0pjYtuuKkdmUbYzL7oLR6Xqq9wljhasnuCFICssDJaqhMep5WizYoEQ==',
    },
    'darwin-arm64': {
      package: '@cloudflare/workerd-darwin-arm64',
      integrity: 'sha512-SBHKntPkKvNPgaCrTe99xC1CAl8ygJDzlYfK0LbuJ1muKadIw35WnhO0wu894fKBtllsVQdNzDLee+cm0ppLSQ==',
    },
  },
});

export const RUNTIMES: readonly Runtime[] = [chromium, deno, bun, workerd];
