// BM25 over a handful of documents, as Lucene scores them.
import { buildBm25 } from "@lfm/retrieval";

const index = buildBm25([
  { id: "a", text: "Adapters are small networks between frozen layers." },
  { id: "b", text: "A prompt is learned while the layers stay frozen." },
  { id: "c", text: "Merging averages the weights of several models." },
]);
const hits = index.search("which networks stand between the layers?", 2);
console.log(hits);
if (hits[0]?.id !== "a") throw new Error("the document about adapters should come first");
