import { stemmer as arabic } from "@orama/stemmers/arabic";
import { stemmer as danish } from "@orama/stemmers/danish";
import { stemmer as dutch } from "@orama/stemmers/dutch";
import { stemmer as finnish } from "@orama/stemmers/finnish";
import { stemmer as french } from "@orama/stemmers/french";
import { stemmer as german } from "@orama/stemmers/german";
import { stemmer as greek } from "@orama/stemmers/greek";
import { stemmer as hungarian } from "@orama/stemmers/hungarian";
import { stemmer as indonesian } from "@orama/stemmers/indonesian";
import { stemmer as irish } from "@orama/stemmers/irish";
import { stemmer as italian } from "@orama/stemmers/italian";
import { stemmer as norwegian } from "@orama/stemmers/norwegian";
import { stemmer as portuguese } from "@orama/stemmers/portuguese";
import { stemmer as romanian } from "@orama/stemmers/romanian";
import { stemmer as russian } from "@orama/stemmers/russian";
import { stemmer as spanish } from "@orama/stemmers/spanish";
import { stemmer as swedish } from "@orama/stemmers/swedish";
import { stemmer as turkish } from "@orama/stemmers/turkish";
import { stopwords as arabicStops } from "@orama/stopwords/arabic";
import { stopwords as danishStops } from "@orama/stopwords/danish";
import { stopwords as dutchStops } from "@orama/stopwords/dutch";
import { stopwords as finnishStops } from "@orama/stopwords/finnish";
import { stopwords as frenchStops } from "@orama/stopwords/french";
import { stopwords as germanStops } from "@orama/stopwords/german";
import { stopwords as greekStops } from "@orama/stopwords/greek";
import { stopwords as hungarianStops } from "@orama/stopwords/hungarian";
import { stopwords as indonesianStops } from "@orama/stopwords/indonesian";
import { stopwords as irishStops } from "@orama/stopwords/irish";
import { stopwords as italianStops } from "@orama/stopwords/italian";
import { stopwords as norwegianStops } from "@orama/stopwords/norwegian";
import { stopwords as portugueseStops } from "@orama/stopwords/portuguese";
import { stopwords as romanianStops } from "@orama/stopwords/romanian";
import { stopwords as russianStops } from "@orama/stopwords/russian";
import { stopwords as spanishStops } from "@orama/stopwords/spanish";
import { stopwords as swedishStops } from "@orama/stopwords/swedish";
import { stopwords as turkishStops } from "@orama/stopwords/turkish";

/** What a language's analyzer is made of. */
export interface Language {
  /** Snowball's stemmer; it reads lower case. */
  readonly stem: (word: string) => string;
  readonly stopWords: readonly string[];
  /** What an apostrophe joins to the next word: l'école is found as école. */
  readonly elided?: ReadonlySet<string>;
  /** Where lower case is the language's own: İ and I of Turkish. */
  readonly locale?: string;
}

// As Lucene's analyzers of these languages have them.
const FRENCH = new Set("l m t qu n s j d c jusqu quoiqu lorsqu puisqu".split(" "));
const ITALIAN = new Set("c l all dall dell nell sull coll pell gl agl dagl degl negl sugl un m t s v d".split(" "));
const IRISH = new Set(["d", "m", "b"]);

/**
 * Languages other than English: Snowball's stemmers and stop lists. Lucene's analyzers for them cut otherwise (light stemmers), so scores are not
 * Anserini's; English alone is checked to be.
 */
export const languages = {
  arabic: { stem: arabic, stopWords: arabicStops },
  danish: { stem: danish, stopWords: danishStops },
  dutch: { stem: dutch, stopWords: dutchStops },
  finnish: { stem: finnish, stopWords: finnishStops },
  french: { stem: french, stopWords: frenchStops, elided: FRENCH },
  german: { stem: german, stopWords: germanStops },
  greek: { stem: greek, stopWords: greekStops },
  hungarian: { stem: hungarian, stopWords: hungarianStops },
  indonesian: { stem: indonesian, stopWords: indonesianStops },
  irish: { stem: irish, stopWords: irishStops, elided: IRISH },
  italian: { stem: italian, stopWords: italianStops, elided: ITALIAN },
  norwegian: { stem: norwegian, stopWords: norwegianStops },
  portuguese: { stem: portuguese, stopWords: portugueseStops },
  romanian: { stem: romanian, stopWords: romanianStops },
  russian: { stem: russian, stopWords: russianStops },
  spanish: { stem: spanish, stopWords: spanishStops },
  swedish: { stem: swedish, stopWords: swedishStops },
  turkish: { stem: turkish, stopWords: turkishStops, locale: "tr" },
} as const satisfies Readonly<Record<string, Language>>;
