import { readFile } from "node:fs/promises";
import type { composeBuyService } from "../../../gateway/buy/compose.ts";
import type { Mutation } from "./mutation.ts";

/** The files of gateway/buy that put the service together, and one whose rule has no line there; each may import those before it. */
const FILES = ["shard-queues", "order-states", "compose"] as const;

/** A piece of one file's text, which is there once, and what stands there instead. */
export interface Edit {
  readonly file: (typeof FILES)[number];
  readonly from: string;
  readonly to: string;
}

const edited = (text: string, { file, from, to }: Edit): string => {
  const [before, after, ...more] = text.split(from);
  if (before === undefined || after === undefined || more.length > 0) throw new Error(`${file} must have once: ${from}`);
  return before + to + after;
};

/** The text of a file after its edits. @throws if a piece is not there, or more than once */
export const editedFile = (text: string, file: Edit["file"], edits: readonly Edit[]): string =>
  edits.filter((edit) => edit.file === file).reduce(edited, text);

/**
 * The composition that was built, but for the edits; everything that it imports is what ships. So a mutation can leave out
 * a line of it, and what ships has no seam for that.
 */
const builtWith = async (edits: readonly Edit[]): Promise<typeof composeBuyService> => {
  const folder = new URL("../../../gateway/buy/", import.meta.url);
  if (!import.meta.url.endsWith(".js")) throw new Error("edits what was built: npm run simulate");
  const twins = new Map<string, string>();
  for (const file of FILES) {
    const url = new URL(`${file}.js`, folder);
    const text = editedFile(await readFile(url, "utf8"), file, edits);
    // a module without a place of its own has to name what it imports by its whole address
    const whole = text.replaceAll(/ from "([^"]+)"/g, (_all, name: string) => {
      const address = name.startsWith(".") ? new URL(name, url).href : import.meta.resolve(name);
      return ` from "${twins.get(address) ?? address}"`;
    });
    twins.set(url.href, `data:text/javascript,${encodeURIComponent(whole.replace(/^\/\/# sourceMappingURL.*$/m, ""))}`);
  }
  const address = twins.get(new URL("compose.js", folder).href) ?? "";
  const twin = (await import(address)) as { readonly composeBuyService: typeof composeBuyService };
  return twin.composeBuyService;
};

export interface EditedGateway extends Mutation {
  readonly edit: Edit;
}

/** The gateway that was built, with another text in one place. */
export const editedGateway = (mutation: Omit<Mutation, "twins">, edit: Edit): EditedGateway => {
  let twin: typeof composeBuyService | undefined;
  return {
    ...mutation,
    edit,
    prepare: async () => {
      twin = await builtWith([edit]);
    },
    twins: () => (twin === undefined ? {} : { composeBuyService: twin }),
  };
};
