import { z } from "zod";

/**
 * Control characters and lone surrogates. Postgres has no NUL, and UTF-8 no half of a pair: what is stored would be another text than what
 * was sent, or nothing at all. The other control characters garble logs, tables and terminals.
 */
const LINE = /^[^\p{Cc}\p{Cs}]*$/u;
/** All of Unicode but those, with tabs and ends of lines. */
const LINES = /^[\t\n\r\P{C}\p{Cf}\p{Cn}\p{Co}]*$/u;
const NOT_IN_LINES = /[^\t\n\r\P{C}\p{Cf}\p{Cn}\p{Co}]/gu;

interface Wording {
  /** what the text is called where a refusal does not name it otherwise */
  readonly name: string;
  /** of what is no text */
  readonly error: string | ((issue: { readonly input?: unknown }) => string);
}

const stored = (pattern: RegExp, rule: string, wording?: Wording): z.ZodString =>
  z
    .string(wording === undefined ? undefined : { error: wording.error })
    .regex(pattern, wording === undefined ? rule : `${wording.name} ${rule}`);

/** A text that is stored: whoever takes one from outside reads it by this, or by a pattern that allows less. */
export const storableLine = (wording?: Wording): z.ZodString =>
  stored(LINE, "must have no control characters and no lone surrogates", wording);

/** As `storableLine`, of several lines: JSON, a reason, the body of a call. */
export const storableLines = (wording?: Wording): z.ZodString =>
  stored(LINES, "must have no control characters but tabs and ends of lines, and no lone surrogates", wording);

/** The beginning of somebody else's words; what in them cannot be stored is replaced. */
export const beginningOf = (text: string, charsMost: number): string => text.slice(0, charsMost).replaceAll(NOT_IN_LINES, "\u{FFFD}");
