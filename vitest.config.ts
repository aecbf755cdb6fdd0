import { configDefaults, defineConfig } from "vitest/config";

/** Tests that run our built programs, kill servers or wait for leases: `npm run test:fast` leaves them out. */
const WHOLE = [
  "test/faults/**/*.test.ts",
  "test/scenarios/**/*.test.ts",
  "deploy/**/*.test.ts",
  "bench/main.test.ts",
  "test/simulation/mutations/composition.test.ts",
  "gateway/{main,violations}.test.ts",
  "workers/main.test.ts",
  "workers/{sales/bucket,shards/shards}.test.ts",
  "coordinator/coordinator.test.ts",
  "coordinator/program/{cluster,violations}.test.ts",
  "coordinator/shards/life.test.ts",
  "coordinator/shards/log/log-faults.test.ts",
];

const ALL = ["test", "lua", "coordinator", "gateway", "workers", "deploy", "bench"].map((folder) => `${folder}/**/*.test.ts`);

export default defineConfig({
  // The sources behind `#lua`, `#program` and `#protocol` (package.json, imports), not what was built of them. By alias: a
  // condition does not reach what the global set-up imports.
  resolve: {
    alias: Object.entries({ lua: "lua", program: "coordinator/program", protocol: "coordinator/protocol" }).flatMap(([name, folder]) => [
      { find: new RegExp(`^#${name}$`), replacement: `${import.meta.dirname}/${folder}/index.ts` },
      { find: new RegExp(`^#${name}/(.*)$`), replacement: `${import.meta.dirname}/${folder}/$1.ts` },
    ]),
  },
  test: {
    globalSetup: ["test/harness/global-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores: real servers per file; more files at once only makes each slower.
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: "fast", include: ALL, exclude: [...configDefaults.exclude, ...WHOLE] } },
      { extends: true, test: { name: "whole", include: WHOLE } },
    ],
  },
});
