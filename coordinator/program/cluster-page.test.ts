import { expect, it } from "vitest";
import { openClusterPage } from "./cluster-page.ts";

const names = { ready: "ready", restarts: "restarts", complete: "complete", violations: "violations" };

it("is ready while a process serves, and no more as soon as it is told to stop", async () => {
  const stop = new AbortController();
  const { app, onChange } = await openClusterPage({ host: "127.0.0.1", port: 0, names, stop: stop.signal });
  const ready = async (): Promise<number> => (await app.inject("/readyz")).statusCode;
  expect(await ready()).toBe(503);
  onChange({ ready: 1, restarts: 0, settings: [] });
  expect(await ready()).toBe(200);
  stop.abort();
  expect(await ready()).toBe(503);
  expect((await app.inject("/healthz")).statusCode).toBe(200);
  await app.close();
});

it("tells what its processes found set up wrongly", async () => {
  const { app, onChange } = await openClusterPage({ host: "127.0.0.1", port: 0, names, stop: new AbortController().signal });
  const wrong = { place: "Postgres", setting: "fsync", found: "off", wanted: "on", verdict: "warn", breaks: "a power cut" } as const;
  onChange({ ready: 1, restarts: 0, settings: [wrong] });
  expect((await app.inject("/readyz")).json()).toEqual({ ok: true, settings: [wrong] });
  await app.close();
});
