import { z } from "zod";

/**
 * The shape of what `--json` writes and of the plots' data. Times are ms where the name says so, rates a second of wall
 * clock, CPU seconds user + system. `ratio` is ours over the reference's, so more is better for us.
 */
const perProgram = z.record(z.string(), z.number());

const curveSchema = z.strictObject({
  title: z.string(),
  /** what the numbers on each axis are */
  x: z.string(),
  y: z.string(),
  lines: z.array(z.strictObject({ name: z.string(), points: z.array(z.tuple([z.number(), z.number()])) })),
});

const entrySchema = z.strictObject({
  /** what was done, in one line */
  what: z.string(),
  /** what a second of `perSecond` counts: answers, decisions, orders ... */
  unit: z.string(),
  perSecond: z.number(),
  /** what the reference is; null where the entry stands alone */
  reference: z.string().nullable(),
  referencePerSecond: z.number().nullable(),
  /** median of the ratios of the pairs of runs */
  ratio: z.number().nullable(),
  /** (largest - smallest) / median of those ratios, of the rates where there is no reference */
  spread: z.number(),
  /** each pair, in the order in which they were run; CPU as in `cpuMicros` */
  runs: z.array(
    z.strictObject({
      perSecond: z.number(),
      referencePerSecond: z.number().nullable(),
      cpuMicros: z.number().nullable(),
      referenceCpuMicros: z.number().nullable(),
    }),
  ),
  /** open loop, from the intended start to the last byte; null where it was not measured */
  p50Ms: z.number().nullable(),
  p99Ms: z.number().nullable(),
  referenceP50Ms: z.number().nullable(),
  referenceP99Ms: z.number().nullable(),
  /** the fixed arrival rate of the latencies */
  latencyPerSecond: z.number().nullable(),
  /** of all runs together; `generator` is the load generator's own */
  cpuSeconds: perProgram,
  referenceCpuSeconds: perProgram,
  /** CPU of everything but the generator for one of `unit`, in microseconds, and the same of the reference */
  cpuMicros: z.number().nullable(),
  referenceCpuMicros: z.number().nullable(),
  /** what sent the load, as a command */
  generator: z.string(),
  /** part of its threads' time that the generator was busy during our runs; near 1: it was the limit, not the engine */
  generatorBusy: z.number().nullable(),
  /** resident bytes at the end, by program */
  memoryBytes: perProgram,
  /** what a success means on disk when it is told */
  durability: z.string().nullable(),
  /** further numbers of this entry, their unit in the name */
  numbers: z.record(z.string(), z.number()),
  /** what a reader must know before he quotes the number */
  notes: z.array(z.string()),
  curves: z.array(curveSchema),
});

export const resultsSchema = z.strictObject({
  machine: z.strictObject({
    cpu: z.string(),
    cores: z.number(),
    memoryBytes: z.number(),
    system: z.string(),
    /** 1-minute load average when the bench began: above 0.5 or so somebody else was at work */
    loadAtStart: z.number(),
  }),
  versions: z.record(z.string(), z.string()),
  command: z.string(),
  at: z.string(),
  seconds: z.number(),
  runs: z.number(),
  /** the whole run, from the first server to the last */
  tookSeconds: z.number(),
  /** most answers a second that each generator got from a bare server: no engine can show more through it */
  generators: z.record(z.string(), z.number()),
  scenarios: z.record(z.string(), entrySchema),
  /** what this machine lacks */
  skipped: z.array(z.string()),
  /** entries that were asked for and have no number because something failed */
  broken: z.array(z.string()),
});

export type Curve = Readonly<z.infer<typeof curveSchema>>;
export type Entry = Readonly<z.infer<typeof entrySchema>>;
export type Results = Readonly<z.infer<typeof resultsSchema>>;

/** An entry of which only what was measured has to be said. */
export const entryOf = (entry: Pick<Entry, "what" | "unit" | "perSecond" | "generator"> & Partial<Entry>): Entry => ({
  reference: null,
  referencePerSecond: null,
  ratio: null,
  spread: 0,
  runs: [],
  p50Ms: null,
  p99Ms: null,
  referenceP50Ms: null,
  referenceP99Ms: null,
  latencyPerSecond: null,
  cpuSeconds: {},
  referenceCpuSeconds: {},
  cpuMicros: null,
  referenceCpuMicros: null,
  generatorBusy: null,
  memoryBytes: {},
  durability: null,
  numbers: {},
  notes: [],
  curves: [],
  ...entry,
});
