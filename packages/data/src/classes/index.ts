export { type ListedEpisode, readEpisodeList } from "./episode-list.js";
export { decodePicture, type Picture, resizePicture } from "./pictures.js";
export {
  type ClassSet,
  type ClassSplit,
  type NamedClass,
  type ReadClassesOptions,
  readClasses,
  readFeatures,
  requireDisjoint,
} from "./read-classes.js";
