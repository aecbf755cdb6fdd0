import type { z } from "zod";

/**
 * Everything that is wrong with a value at once, one clause each: `units: Too small; body: Unrecognized key`.
 * @param whole what the value is called where an issue is about all of it
 */
export const issuesText = (error: z.ZodError, whole = "body"): string =>
  error.issues.map(({ path, message }) => `${path.join(".") || whole}: ${message}`).join("; ");
