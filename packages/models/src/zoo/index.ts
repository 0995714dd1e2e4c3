export { type Answerer, answerAccuracy, answerWords, createAnswerer } from "./answer-words.js";
export { loadZoo, type Zoo, type ZooRecipe, zooFolder } from "./load-zoo.js";
export { zooTokenizer } from "./zoo-tokenizer.js";
