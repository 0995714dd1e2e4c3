export { type DatasetDescription, type DatasetSummary, type FileState, listDatasets, showDataset } from "./catalogue.js";
export { type ClassificationSet, type LabelledText, loadClassification } from "./classification.js";
export { type DatasetLocation, datasetFolder, defaultDataFolder } from "./folder.js";
export { type Character, type DigitSplit, loadMnist, loadOmniglot, type MnistSet, type OmniglotSet } from "./images.js";
export type { DatasetFile, DatasetKind, DatasetManifest, DatasetName } from "./manifest.js";
export { DATASET_NAMES, DATASETS, datasetManifest } from "./manifests.js";
export { type PullOptions, type PullResult, pullDataset } from "./pull.js";
export { loadSciFact, type RetrievalSet } from "./scifact.js";
export { loadText, type TextSet } from "./text.js";
