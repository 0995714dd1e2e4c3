import { LfmError, nearestName } from "@lfm/core";
import type { DatasetManifest, DatasetName } from "./manifest.js";
import { CLASSIFICATION } from "./manifests-classification.js";

const GITHUB = "https://raw.githubusercontent.com/";

/**
 * The known sets. Addresses marked `verified` were compared byte for byte with the pinned revision of the named repository.
 * The order is that of `lfm data ls`.
 */
export const DATASETS: Readonly<Record<DatasetName, DatasetManifest>> = {
  ...CLASSIFICATION,
  scifact: {
    name: "scifact",
    kind: "retrieval",
    title: "SciFact (BEIR): scientific claims against 5,183 abstracts",
    source: "BeIR/scifact @ dfb5d0e (corpus), castorini/anserini-tools @ 5b819c1 (test topics, qrels), AllenAI SciFact claims (unverified)",
    licence: "claims CC BY 4.0, abstracts ODC-By 1.0",
    citation:
      "Wadden et al., Fact or Fiction: Verifying Scientific Claims, EMNLP 2020 (arXiv 2004.14974); Thakur et al., BEIR, NeurIPS 2021 (arXiv 2104.08663)",
    splitRule:
      "test as in BEIR (the 300 claims of SciFact's validation split); train: claims_train.json with the cited abstracts as relevant, without the two claims that stand in test too",
    counts: { documents: 5183, testQueries: 300, testQrels: 339, trainQueries: 807, trainQrels: 917 },
    files: [
      {
        path: "corpus.jsonl.gz",
        sha256: "f4a47c54e01f9dfe7f0cbbcae0e1df17c5a90d6553f3a9d5b1ba32184545b3d8",
        bytes: 8005290,
        url: "https://huggingface.co/datasets/BeIR/scifact/resolve/dfb5d0e7aa6f2ace386740fdf81d6908a454a636/corpus.jsonl.gz",
        verified: false,
      },
      {
        path: "topics.test.tsv.gz",
        sha256: "d7c7e6451a8ea46e3b02c30be57ecbf79d3e3a0bbb7fe04d0d74858a53431feb",
        bytes: 28677,
        url: `${GITHUB}castorini/anserini-tools/5b819c1a45c8a0a3ec9426f476694f44a29dfaf3/topics/topics.beir-v1.0.0-scifact.test.tsv.gz`,
        verified: true,
      },
      {
        path: "qrels.test.txt",
        sha256: "8b7315286f8dc823956025a1fc9c9ff0bfe142d7b409458ccd758cfa0713ccba",
        bytes: 5702,
        url: `${GITHUB}castorini/anserini-tools/5b819c1a45c8a0a3ec9426f476694f44a29dfaf3/qrels/qrels.beir-v1.0.0-scifact.test.txt`,
        verified: true,
      },
      {
        path: "claims_train.json",
        sha256: "bcdbb9d77bd2b106ecba666a99515cb78b30ce3b4dfd9c713d16daf27ded0bd5",
        bytes: 298735,
        url: null,
        verified: false,
        optional: true,
      },
      {
        path: "claims_validation.json",
        sha256: "3feedb2b47d52a0dc98313695b4f3ebb34474d843c32fcd3516c29e9e3c34274",
        bytes: 106894,
        url: null,
        verified: false,
        optional: true,
      },
    ],
  },
  wikitext2: {
    name: "wikitext2",
    kind: "language-modelling",
    title: "WikiText-2: valid and test text (word level, <unk>)",
    source: "pytorch/examples @ 77f55b9, word_language_model/data/wikitext-2",
    licence: "CC BY-SA 3.0",
    citation: "Merity et al., Pointer Sentinel Mixture Models, ICLR 2017 (arXiv 1609.07843)",
    splitRule:
      "the published valid text is train (its last tenth, from the next line break, is val), the published test text is test: perplexities are not comparable with models trained on the full set",
    counts: { train: 1009868, val: 111813, test: 1256449 },
    files: [
      {
        path: "valid.txt",
        sha256: "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        bytes: 1121681,
        url: `${GITHUB}pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2/valid.txt`,
        verified: true,
      },
      {
        path: "test.txt",
        sha256: "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
        bytes: 1256449,
        url: `${GITHUB}pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2/test.txt`,
        verified: true,
      },
    ],
  },
  tinyshakespeare: {
    name: "tinyshakespeare",
    kind: "language-modelling",
    title: "Tiny Shakespeare: 1.1 MB of plays",
    source: "karpathy/char-rnn @ 6f9487a",
    licence: "public domain text",
    citation: "Karpathy, char-rnn, 2015",
    splitRule: "by position, each cut moved to the next line break: first 80 % train, next 10 % val, last 10 % test",
    counts: { train: 892324, val: 111532, test: 111538 },
    files: [
      {
        path: "input.txt",
        sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        bytes: 1115394,
        url: `${GITHUB}karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt`,
        verified: true,
      },
    ],
  },
  omniglot: {
    name: "omniglot",
    kind: "few-shot-images",
    title: "Omniglot small: 242 characters of 8 alphabets, 20 drawings each",
    source: "brendenlake/omniglot @ 057f034, background small 1 and 2",
    licence: "MIT",
    citation: "Lake, Salakhutdinov, Tenenbaum, Human-level concept learning through probabilistic program induction, Science 350, 2015",
    splitRule:
      "alphabets in code-point order: the first four train (Balinese, Early_Aramaic, Greek, Japanese_(katakana)), the fifth validation (Korean), the last three test (Latin, Sanskrit, Tagalog); fixed before any result was seen",
    counts: { train: 117, validation: 40, test: 85, drawingsPerCharacter: 20 },
    files: [
      {
        path: "images_background_small1.zip",
        sha256: "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
        bytes: 1319022,
        url: `${GITHUB}brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python/images_background_small1.zip`,
        verified: true,
      },
      {
        path: "images_background_small2.zip",
        sha256: "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
        bytes: 1580917,
        url: `${GITHUB}brendenlake/omniglot/057f034baf2ecb8530bc5710e5a23584d2a519cc/python/images_background_small2.zip`,
        verified: true,
      },
    ],
  },
  mnist: {
    name: "mnist",
    kind: "image-classification",
    title: "MNIST: 10,000 handwritten digits",
    source: "cazala/mnist @ 7615779",
    licence: "MIT",
    citation: "LeCun, Cortes, Burges, The MNIST database of handwritten digits, 1998",
    splitRule:
      "of each digit, in file order, every fifth example is test, the rest train (the package has no split of its own; not comparable with the published 60,000 / 10,000 split)",
    counts: { train: 8004, test: 1996 },
    files: [
      {
        path: "0.json.gz",
        sha256: "64c965faccfe0483cf69df89a24fb69ee338abb4dcf4ddc890258d66e40d5de2",
        bytes: 2314420,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/0.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "1.json.gz",
        sha256: "2143d080bd62935928448372a5315c2ddfdcb0c517f2939e12eb0472ffc9b25e",
        bytes: 2142037,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/1.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "2.json.gz",
        sha256: "7db7b18ebab81b02468fb36acd349137fff8d9024988a7c64361ab5e6567be90",
        bytes: 2187973,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/2.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "3.json.gz",
        sha256: "c12910410ef545feacb25e36d96af981833f45fb814899e7f7d82cedbb54fa54",
        bytes: 2263065,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/3.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "4.json.gz",
        sha256: "b2cb87a1d05a8bd86b0a84d12070bb31f2a4c6cffa19a5c5f598502afc28b5a8",
        bytes: 2062695,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/4.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "5.json.gz",
        sha256: "9286c3b47bdcb24c6b10552e81159233dd1c4c4c13aff7833a2ebaba6bf396ca",
        bytes: 1839848,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/5.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "6.json.gz",
        sha256: "0ef0d890993b69694719899c0a326b026caa48cee34508ad15ac5427f92d641a",
        bytes: 2191413,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/6.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "7.json.gz",
        sha256: "14b83ca1b3d3db6f05c4ed1b386ddc9ad9072230856500950b491bd3d21a2a33",
        bytes: 2217089,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/7.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "8.json.gz",
        sha256: "6ea5298d9b7e4012e0980d97b565e0cdde50befee0e20b2ef8a86d0abce0c762",
        bytes: 2099802,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/8.json`,
        verified: true,
        pack: "gzip",
      },
      {
        path: "9.json.gz",
        sha256: "bd0ffaad429227dacd35988a05dc0801a294a021e28da86392d628278cfa58ab",
        bytes: 2068860,
        url: `${GITHUB}cazala/mnist/76157793a26e2eed9313a6cde6ee60d8167a04fd/src/digits/9.json`,
        verified: true,
        pack: "gzip",
      },
    ],
  },
};

export const DATASET_NAMES = Object.keys(DATASETS) as readonly DatasetName[];

/** The manifest of a set. Errors: CONFIG_INVALID for an unknown name, with the nearest known one as hint. */
export function datasetManifest(name: string): DatasetManifest {
  if (Object.hasOwn(DATASETS, name)) return DATASETS[name as DatasetName];
  const near = nearestName(name, DATASET_NAMES);
  throw new LfmError("CONFIG_INVALID", `[@lfm/data] no set named "${name}"; known: ${DATASET_NAMES.join(", ")}`, {
    details: { name, known: DATASET_NAMES },
    ...(near === undefined ? {} : { hint: `did you mean "${near}"?` }),
  });
}
