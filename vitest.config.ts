import { defineConfig } from "vitest/config";

export default defineConfig({
  // The sources behind `#lua`, `#program` and `#protocol` (package.json, imports), not what was built of them.
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    include: [
      "test/**/*.test.ts",
      "lua/**/*.test.ts",
      "coordinator/**/*.test.ts",
      "gateway/**/*.test.ts",
      "workers/**/*.test.ts",
      "deploy/**/*.test.ts",
      "bench/**/*.test.ts",
    ],
    globalSetup: ["test/harness/global-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores: real servers per file; more files at once only makes each slower.
    maxWorkers: 2,
  },
});
