import { existsSync } from "node:fs";
import { installPackages } from "../../deploy/local/index.ts";
import { environment } from "./index.ts";

/** As Debian's package has it for each processor. */
const PLACES = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((machine) => `/usr/lib/${machine}/faketime/libfaketimeMT.so.1`);
const PACKAGE = "libfaketime";

const find = (): string | undefined => PLACES.find((path) => existsSync(path));

/** libfaketime, installed where that may be done. @returns why there is none, if there is none */
export const findFaketime = async (): Promise<{ readonly library: string } | { readonly why: string }> => {
  const there = find();
  if (there !== undefined) return { library: there };
  const why = await installPackages([PACKAGE], { path: environment["PATH"] }, (line) => process.stderr.write(`${line}\n`));
  const installed = find();
  return installed === undefined
    ? { why: why ?? `${PACKAGE} is installed elsewhere than in ${PLACES.join(", ")}` }
    : { library: installed };
};
