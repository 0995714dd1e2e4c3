export { type Activation, activation, activationName } from "./architectures/activations.js";
export { type BertConfig, bert } from "./architectures/bert.js";
export { type CifarResnetConfig, cifarResnet } from "./architectures/cifar-resnet.js";
export { type ConvnetConfig, convnet } from "./architectures/convnet.js";
export { type Dinov2Config, dinov2 } from "./architectures/dinov2.js";
export { type DistilbertConfig, distilbert } from "./architectures/distilbert.js";
export { type GemmaConfig, gemma } from "./architectures/gemma.js";
export { type Gemma2Config, gemma2 } from "./architectures/gemma2.js";
export { type Gemma3Config, gemma3 } from "./architectures/gemma3.js";
export { type GptNeoxConfig, gptNeox } from "./architectures/gpt-neox.js";
export { type Gpt2Config, gpt2 } from "./architectures/gpt2.js";
export { type LlamaConfig, llama } from "./architectures/llama.js";
export { type MistralConfig, mistral } from "./architectures/mistral.js";
export { type MixtralConfig, mixtral } from "./architectures/mixtral.js";
export { type MlpConfig, mlp } from "./architectures/mlp.js";
export { type Phi3Config, phi3 } from "./architectures/phi3.js";
export { type Qwen2Config, qwen2 } from "./architectures/qwen2.js";
export { type Qwen3Config, qwen3 } from "./architectures/qwen3.js";
export { type ResnetConfig, resnet } from "./architectures/resnet.js";
export { type RobertaConfig, roberta } from "./architectures/roberta.js";
export { type T5Config, t5 } from "./architectures/t5.js";
export { type VitConfig, vit } from "./architectures/vit.js";
export { batchesByLength } from "./batching.js";
export { type BlackBoxInput, type BlackBoxOptions, createBlackBox, type OwnedBlackBox } from "./black-box.js";
export { calibrationText } from "./calibration-text.js";
export { type ClassifierOptions, classifierWeight, withClassifier } from "./classifier.js";
export { createEncoder, type EncodeOptions, type Encoder, type EncoderOptions } from "./encoder.js";
export { type LoadedModel, loadModel, type SaveOptions, saveModel } from "./folder.js";
export { modelFromConfig } from "./from-config.js";
export type { AdapterPool } from "./generation/adapter-pool.js";
export {
  type BatchGenerateOptions,
  type BatchGenerator,
  type BatchGeneratorOptions,
  type BatchLoad,
  createBatchGenerator,
} from "./generation/batch-generator.js";
export type { Generated, TokenLogProb } from "./generation/continuation.js";
export type { GenerateOptions, Step, TokenOdds } from "./generation/generate-options.js";
export type { Generation } from "./generation/generation.js";
export { createGenerator, type Generator, type OpenOptions } from "./generation/generator.js";
export { logProbabilities } from "./generation/log-probabilities.js";
export { mostLikely, type SamplingOptions } from "./generation/sampling.js";
export { type InitOptions, initWeights } from "./init.js";
export type { ExampleSpecs, ExampleTensors } from "./named-batch.js";
export { type Pooling, pool, unitLength } from "./pooling.js";
export { createPredictor, type Predictor, type PredictorOptions, type Wanted } from "./predictor.js";
export { createPromptBox, type PromptBox, type PromptedInput, promptBoxInput } from "./prompt-box.js";
export { type QuantizedBase, type QuantizedBaseOptions, quantizeBase } from "./quantized-base.js";
export { rowsAt } from "./rows-at.js";
export { readSentenceConfig, type SentenceConfig } from "./sentence-config.js";
export { softPrompt, tokensInFront } from "./soft-prompts.js";
export { hasHubClass, isHeadParameter, storedName } from "./stored-names.js";
export { type ChatIds, chatIds, chatPromptIds } from "./text/chat.js";
export { type ChatTemplate, chatTemplate, readChatTemplate } from "./text/chat-template.js";
export { type Continuation, type ContinuationWishes, continuationOf } from "./text/continuation.js";
export { type GenerationConfig, readGenerationConfig } from "./text/generation-config.js";
export { modelTokenizer, type ReadingLimits } from "./text/model-tokenizer.js";
export { type StopTexts, stopTexts } from "./text/stop-texts.js";
export {
  idsOfBoth,
  idsOfText,
  promptIds,
  readTextRules,
  requireRead,
  type TextFiles,
  type TextRules,
  textRules,
  textRulesInput,
} from "./text/text-rules.js";
export type { TextStream } from "./text/text-stream.js";
