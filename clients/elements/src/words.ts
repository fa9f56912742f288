// The words of the elements, and numbers and times as people of a language write them.
//
// A language is an object of words. In a word `{n}` and its like are places for numbers and names. A word that depends on
// a number has forms by the categories of `Intl.PluralRules`; `other` is always there.

import { de } from "./languages/de.js";
import { en } from "./languages/en.js";
import { es } from "./languages/es.js";
import { fr } from "./languages/fr.js";
import { ja } from "./languages/ja.js";

export type Plural = { readonly other: string; readonly [category: string]: string };

/** All words of a language. */
export type Words = { readonly [K in keyof typeof en]: (typeof en)[K] extends string ? string : Plural };

type Places = Readonly<Record<string, string | number>>;
type Texts = { [K in keyof Words]: Words[K] extends string ? K : never }[keyof Words];
type Counted = Exclude<keyof Words, Texts>;

const LANGUAGES: Record<string, Words> = { en, de, fr, es, ja };

let ofPage: Partial<Words> = {};
const listeners = new Set<() => void>();

/** Take these words in place of those of the language, in all elements of the page. */
export function setWords(words: Partial<Words>): void {
  ofPage = words;
  for (const listener of listeners) listener();
}

/** Call after each `setWords`, until the returned function is called. */
export function onWords(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** The words of a language with the numbers and times of it; of `own` words those that are given count. */
export class Speaker {
  readonly language: string;
  readonly #words: Words;
  readonly #plurals: Intl.PluralRules;
  // To make one takes longer than all that is drawn with it.
  readonly #percent: Intl.NumberFormat;

  constructor(language: string, own: Partial<Words> = {}) {
    const known = LANGUAGES[language.split("-")[0] as string];
    const hasOwn = Object.keys(ofPage).length + Object.keys(own).length > 0;
    // English words with the numbers of another language would be of neither.
    this.language = known !== undefined || hasOwn ? canonical(language) : "en";
    this.#words = { ...(known ?? en), ...ofPage, ...own };
    this.#plurals = new Intl.PluralRules(this.language);
    this.#percent = new Intl.NumberFormat(this.language, { style: "percent" });
  }

  say(name: Texts, places: Places = {}): string {
    return this.#fill(this.#words[name], places);
  }

  /** A word that depends on the number `n`. */
  count(name: Counted, n: number, places: Places = {}): string {
    const forms: Plural = this.#words[name];
    return this.#fill(forms[this.#plurals.select(n)] ?? forms.other, { ...places, n });
  }

  number(value: number, options?: Intl.NumberFormatOptions): string {
    return value.toLocaleString(this.language, options);
  }

  percent(value: number): string {
    return this.#percent.format(Math.floor(value) / 100);
  }

  /** A time span, in one unit. */
  span(seconds: number): string {
    const [value, unit] =
      seconds < 100 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
    return this.number(Math.max(1, Math.round(value as number)), {
      style: "unit",
      unit: unit as string,
      unitDisplay: "short",
    });
  }

  clock(time: number): string {
    return new Date(time).toLocaleTimeString(this.language, { hour: "numeric", minute: "2-digit" });
  }

  /** The day of a time: today, yesterday, or its date. */
  day(time: number, now: number): string {
    const days = Math.round((midnight(now) - midnight(time)) / 86_400_000);
    if (days < 2)
      return capital(new Intl.RelativeTimeFormat(this.language, { numeric: "auto" }).format(-Math.max(0, days), "day"));
    return new Date(time).toLocaleDateString(this.language, { weekday: "long", day: "numeric", month: "long" });
  }

  #fill(text: string, places: Places): string {
    return text.replace(/\{(\w+)\}/g, (all, name: string) => {
      const value = places[name];
      return typeof value === "number" ? this.number(value) : (value ?? all);
    });
  }
}

/** A language that the browser knows: a page may have any text in `lang`. */
function canonical(language: string): string {
  try {
    return Intl.getCanonicalLocales(language)[0] ?? "en";
  } catch {
    return "en";
  }
}

function midnight(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
