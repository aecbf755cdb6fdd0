import { SettingVerdict, type SettingProblem } from "#program/setting-problems";

/** A value of a store's setting that breaks a promise. deploy/STORES.md is the table for people. */
export interface SettingRule {
  /** as the store's manual spells it */
  readonly setting: string;
  readonly wanted: string;
  /** the values that are wrong, in words */
  readonly wrong: string;
  readonly isWrong: (found: string) => boolean;
  readonly verdict: SettingVerdict;
  /** the promises (DESIGN 1) that rest on it; empty where only speed or a moment of selling does */
  readonly promises: readonly string[];
  /** what happens with a wrong value */
  readonly breaks: string;
}

const problemOf = ({ setting, wanted, verdict, promises, breaks }: SettingRule, found: string): SettingProblem => ({
  setting,
  found,
  wanted,
  verdict,
  breaks: promises.length === 0 ? breaks : `${breaks} (${promises.join(", ")})`,
});

/** What a store shows of its settings: undefined if it does not show one, as managed stores do. */
export interface ShownSettings {
  readonly value: (setting: string) => string | undefined;
  /** why it shows nothing, in the store's own words */
  readonly hiddenBecause: string;
}

/** What is wrong by these rules. A setting that is not shown is a warning: it may be right. */
export const judgeSettings = (rules: readonly SettingRule[], { value, hiddenBecause }: ShownSettings): SettingProblem[] => {
  const problems: SettingProblem[] = [];
  const hidden = new Set<string>();
  for (const rule of rules) {
    const found = value(rule.setting);
    if (found !== undefined) {
      if (rule.isWrong(found)) problems.push(problemOf(rule, found));
    } else if (!hidden.has(rule.setting)) {
      hidden.add(rule.setting);
      problems.push({ ...problemOf(rule, `not shown (${hiddenBecause})`), verdict: SettingVerdict.warn });
    }
  }
  return problems;
};

/** The settings that rules are about, each once. */
export const settingsOf = (rules: readonly SettingRule[]): readonly string[] => [...new Set(rules.map(({ setting }) => setting))];
