import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { installPackages } from "../../deploy/local/index.ts";
import { environment } from "./run.ts";

/** Where Debian puts servers, which only root has in the PATH. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/local/sbin"];

const find = async (names: readonly string[]): Promise<string | undefined> => {
  for (const folder of [...(environment["PATH"] ?? "").split(delimiter), ...SYSTEM_FOLDERS]) {
    for (const name of names) {
      const file = join(folder, name);
      const isThere = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere) return file;
    }
  }
  return undefined;
};

export type FoundProgram = { readonly program: string } | { readonly why: string };

/**
 * A program of this system, installed where that may be done.
 * @param debianPackage the package, whose name the program has, too
 * @param names other names of it
 * @returns why there is none, if there is none
 */
export const debianProgram = async (debianPackage: string, ...names: readonly string[]): Promise<FoundProgram> => {
  const all = [debianPackage, ...names];
  const there = await find(all);
  if (there !== undefined) return { program: there };
  const why = await installPackages([debianPackage], { path: environment["PATH"] }, (line) => process.stderr.write(`${line}\n`));
  const installed = await find(all);
  return installed === undefined ? { why: why ?? `${debianPackage} is nowhere in the PATH` } : { program: installed };
};
